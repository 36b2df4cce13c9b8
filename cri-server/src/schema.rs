//! The embedded descriptor as a table, and messages as a list of fields: what generic walks over messages stand on.

use crate::proto::FILE_DESCRIPTOR_SET;
use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorSet};
use std::collections::HashMap;
use std::sync::LazyLock;

/// Every message and enum of the CRI, by name with the package: `.runtime.v1.Mount`.
pub(crate) static SCHEMA: LazyLock<Schema> = LazyLock::new(Schema::embedded);

/// Messages and enums by name.
pub(crate) struct Schema {
    messages: HashMap<String, Fields>,
    enums: HashMap<String, HashMap<u64, String>>,
}

/// Fields of a message, by number.
pub(crate) type Fields = HashMap<u32, Field>;

/// One field.
pub(crate) struct Field {
    /// As in the proto file.
    pub name: String,
    /// What a value is.
    pub kind: Kind,
    /// Whether it may occur more than once.
    pub many: Many,
}

/// What a value is, as far as a reader needs to know.
pub(crate) enum Kind {
    /// UTF-8.
    Text,
    /// Anything.
    Bytes,
    /// True or false.
    Bool,
    /// A number that may be below zero.
    Signed,
    /// A number that may not.
    Unsigned,
    /// A number with a fraction.
    Double,
    /// One of the names of an enum, by its full name.
    Enum(String),
    /// A message, by its full name.
    Message(String),
}

/// How often a field occurs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Many {
    /// Once, or not at all.
    No,
    /// Any number of times.
    Repeated,
    /// As entries of a map with text keys.
    Map,
}

/// Returns the name of every RPC by the path it is called by, such as `/runtime.v1.RuntimeService/Version`.
pub(crate) fn rpc_names() -> HashMap<String, String> {
    let mut names = HashMap::new();
    for file in &embedded().file {
        for service in &file.service {
            for rpc in &service.method {
                let path = format!("/{}.{}/{}", file.package(), service.name(), rpc.name());
                names.insert(path, rpc.name().to_owned());
            }
        }
    }
    names
}

fn embedded() -> FileDescriptorSet {
    FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).expect("the build embeds what it encoded")
}

// === impl Schema ===

impl Schema {
    fn embedded() -> Self {
        let mut schema = Self { messages: HashMap::new(), enums: HashMap::new() };
        for file in &embedded().file {
            let package = format!(".{}", file.package());
            file.message_type.iter().for_each(|message| schema.add_message(&package, message));
            file.enum_type.iter().for_each(|one| schema.add_enum(&package, one));
        }
        schema
    }

    /// Returns the fields of a message.
    pub(crate) fn fields(&self, message: &str) -> &Fields {
        static NONE: LazyLock<Fields> = LazyLock::new(HashMap::new);
        self.messages.get(message).unwrap_or(&NONE)
    }

    /// Returns the name of an enum's value.
    pub(crate) fn value_name(&self, name: &str, value: u64) -> Option<&str> {
        self.enums.get(name)?.get(&value).map(String::as_str)
    }

    fn add_message(&mut self, scope: &str, message: &DescriptorProto) {
        let full = format!("{scope}.{}", message.name());
        let is_map = |name: &str| {
            let short = name.rsplit('.').next().unwrap_or_default();
            name == format!("{full}.{short}")
                && message.nested_type.iter().any(|inner| {
                    inner.name() == short && inner.options.as_ref().is_some_and(|options| options.map_entry())
                })
        };
        let fields = message.field.iter().map(|field| {
            let many = match field.label() {
                Label::Repeated if is_map(field.type_name()) => Many::Map,
                Label::Repeated => Many::Repeated,
                Label::Optional | Label::Required => Many::No,
            };
            let number = u32::try_from(field.number()).unwrap_or(0);
            let kind = kind(field.r#type(), field.type_name());
            (number, Field { name: field.name().to_owned(), kind, many })
        });
        self.messages.insert(full.clone(), fields.collect());
        message.nested_type.iter().for_each(|inner| self.add_message(&full, inner));
        message.enum_type.iter().for_each(|inner| self.add_enum(&full, inner));
    }

    fn add_enum(&mut self, scope: &str, one: &EnumDescriptorProto) {
        let values = one.value.iter().filter_map(|value| {
            let number = u64::try_from(value.number()).ok()?;
            Some((number, value.name().to_owned()))
        });
        self.enums.insert(format!("{scope}.{}", one.name()), values.collect());
    }
}

fn kind(of: Type, name: &str) -> Kind {
    match of {
        Type::String => Kind::Text,
        Type::Bytes => Kind::Bytes,
        Type::Bool => Kind::Bool,
        Type::Double | Type::Float => Kind::Double,
        Type::Int32 | Type::Int64 | Type::Sint32 | Type::Sint64 | Type::Sfixed32 | Type::Sfixed64 => Kind::Signed,
        Type::Uint32 | Type::Uint64 | Type::Fixed32 | Type::Fixed64 => Kind::Unsigned,
        Type::Enum => Kind::Enum(name.to_owned()),
        Type::Message | Type::Group => Kind::Message(name.to_owned()),
    }
}

// === messages as a list of fields ===

/// A field as it lies in an encoded message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Wire<'a> {
    /// A number.
    Varint(u64),
    /// Eight bytes.
    Fixed64([u8; 8]),
    /// Text, bytes, a message, or packed numbers.
    Bytes(&'a [u8]),
    /// Four bytes.
    Fixed32([u8; 4]),
}

/// Splits an encoded message into its fields, in their order; `None` when it is damaged.
pub(crate) fn fields_of(mut message: &[u8]) -> Option<Vec<(u32, Wire<'_>)>> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message)?;
        let number = u32::try_from(key >> 3).ok()?;
        let value = match key & 7 {
            0 => Wire::Varint(varint(&mut message)?),
            1 => Wire::Fixed64(*take(&mut message, 8)?.first_chunk()?),
            2 => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                Wire::Bytes(take(&mut message, length)?)
            }
            5 => Wire::Fixed32(*take(&mut message, 4)?.first_chunk()?),
            _ => return None,
        };
        fields.push((number, value));
    }
    Some(fields)
}

fn take<'a>(from: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = from.split_at_checked(length)?;
    *from = rest;
    Some(taken)
}

/// Takes one number off the front. At most ten bytes, as the encoding says.
pub(crate) fn varint(from: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..70).step_by(7) {
        let (&byte, rest) = from.split_first()?;
        *from = rest;
        value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn messages_are_found_by_name_with_their_fields() {
        let mount = SCHEMA.fields(".runtime.v1.Mount");
        assert_eq!(mount[&1].name, "container_path");
        assert!(matches!(&mount[&5].kind, Kind::Enum(name) if name == ".runtime.v1.MountPropagation"));
        assert!(mount[&6].many == Many::Repeated);
        assert!(SCHEMA.fields(".runtime.v1.PodSandboxConfig")[&6].many == Many::Map);
        assert_eq!(SCHEMA.value_name(".runtime.v1.SecurityProfile.ProfileType", 2), Some("Localhost"));
        assert!(SCHEMA.fields(".runtime.v1.Nothing").is_empty());
    }

    #[test]
    fn damaged_messages_are_refused() {
        for damaged in [&[0x0a, 5, b'x'][..], &[0x80], &[0x0b], &[0x08], &[0xff; 12]] {
            assert_eq!(fields_of(damaged), None, "{damaged:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_split_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = fields_of(&bytes);
        }
    }
}
