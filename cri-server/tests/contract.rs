//! The compiled proto file against the wire contract, in both directions: what is missing, what is different, what is more.

#![allow(clippy::unwrap_used, reason = "a test that can't go on may panic")]

use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet, ServiceDescriptorProto,
};
use std::collections::BTreeSet;

const CONTRACT: &str = include_str!("data/cri-v1-contract.tsv");
const PACKAGE: &str = ".runtime.v1.";

/// Lines of the contract, each of five columns.
fn contract() -> BTreeSet<String> {
    let lines = CONTRACT.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split('\t').map(str::trim_end).collect::<Vec<_>>().join("\t")).collect()
}

/// The same lines, written from the compiled descriptor.
fn compiled() -> BTreeSet<String> {
    let files = FileDescriptorSet::decode(orlop_cri::proto::FILE_DESCRIPTOR_SET).unwrap();
    assert_eq!(files.file.len(), 1, "the proto file imports nothing");
    let file = &files.file[0];
    assert_eq!((file.package(), file.syntax()), ("runtime.v1", "proto3"));
    let mut lines = BTreeSet::new();
    file.service.iter().for_each(|service| add_service(&mut lines, service));
    file.message_type.iter().for_each(|message| add_message(&mut lines, "", message));
    file.enum_type.iter().for_each(|one| add_enum(&mut lines, "", one));
    lines
}

fn add_service(lines: &mut BTreeSet<String>, service: &ServiceDescriptorProto) {
    let stream = |streams: bool| if streams { "stream " } else { "" };
    for method in &service.method {
        let (input, output) = (short(method.input_type()), short(method.output_type()));
        let (asks, answers) = (stream(method.client_streaming()), stream(method.server_streaming()));
        lines.insert(format!("rpc\t{}\t{}\t{asks}{input}\t{answers}{output}", service.name(), method.name()));
    }
}

fn add_message(lines: &mut BTreeSet<String>, scope: &str, message: &DescriptorProto) {
    if message.options.as_ref().is_some_and(|options| options.map_entry()) {
        return;
    }
    let name = format!("{scope}{}", message.name());
    assert!(message.oneof_decl.is_empty(), "{name} has a oneof, the contract has none");
    if message.field.is_empty() {
        lines.insert(format!("message\t{name}\t(no fields)\t\t"));
    }
    for field in &message.field {
        lines.insert(format!("field\t{name}\t{}\t{}\t{}", field.name(), field.number(), type_of(message, field)));
    }
    let inner = format!("{name}.");
    message.nested_type.iter().for_each(|nested| add_message(lines, &inner, nested));
    message.enum_type.iter().for_each(|one| add_enum(lines, &inner, one));
}

fn add_enum(lines: &mut BTreeSet<String>, scope: &str, one: &EnumDescriptorProto) {
    for value in &one.value {
        lines.insert(format!("enum\t{scope}{}\t{}\t{}\t", one.name(), value.name(), value.number()));
    }
}

fn type_of(message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    let deprecated = field.options.as_ref().is_some_and(|options| options.deprecated());
    let deprecated = if deprecated { " deprecated" } else { "" };
    let entry = message.nested_type.iter().find(|nested| {
        field.type_name().ends_with(&format!(".{}.{}", message.name(), nested.name()))
            && nested.options.as_ref().is_some_and(|options| options.map_entry())
    });
    if let Some(entry) = entry {
        let part = |i: usize| scalar(entry, &entry.field[i]);
        return format!("map<{},{}>{deprecated}", part(0), part(1));
    }
    let repeated = if field.label() == Label::Repeated { " repeated" } else { "" };
    assert_ne!(field.label(), Label::Required);
    format!("{}{repeated}{deprecated}", scalar(message, field))
}

/// Returns the type of a single value. A type inside the message is named as in its scope.
fn scalar(message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    match field.r#type() {
        Type::Double => "double",
        Type::Int32 => "int32",
        Type::Int64 => "int64",
        Type::Uint32 => "uint32",
        Type::Uint64 => "uint64",
        Type::Bool => "bool",
        Type::String => "string",
        Type::Bytes => "bytes",
        Type::Message | Type::Enum => {
            let name = short(field.type_name());
            name.strip_prefix(&format!("{}.", message.name())).unwrap_or(name)
        }
        other @ (Type::Float
        | Type::Fixed64
        | Type::Fixed32
        | Type::Group
        | Type::Sfixed32
        | Type::Sfixed64
        | Type::Sint32
        | Type::Sint64) => panic!("{}: {other:?} is nowhere in the contract", field.name()),
    }
    .to_owned()
}

fn short(name: &str) -> &str {
    name.strip_prefix(PACKAGE).expect("everything is in one package")
}

#[test]
fn the_proto_file_is_the_contract_and_nothing_else() {
    let (contract, compiled) = (contract(), compiled());
    let missing: Vec<_> = contract.difference(&compiled).collect();
    let more: Vec<_> = compiled.difference(&contract).collect();
    assert!(
        missing.is_empty() && more.is_empty(),
        "in the contract only: {missing:#?}\nin the proto file only: {more:#?}"
    );
}

#[test]
fn the_contract_is_the_whole_interface() {
    let contract = contract();
    let count = |kind: &str| contract.iter().filter(|line| line.starts_with(kind)).count();
    // Section 1 of the reference counts fields and enum values together.
    assert_eq!((count("rpc\t"), count("field\t") + count("enum\t")), (43, 573));
}
