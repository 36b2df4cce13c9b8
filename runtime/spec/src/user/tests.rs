use super::*;
use orlop_model::ErrorKind;
use proptest::prelude::*;

const PASSWD: &[u8] = b"# comment\nroot:x:0:0:root:/root:/bin/sh\nweb:x:33:34:web:/var/www:/bin/false\nbroken\n\
99999999999:x:0:0::/root:/bin/sh\n1000:x:0:0::/root:/bin/sh\nbad:x:1000abc:0::/:/bin/sh\nrel:x:7:7::home:/bin/sh\nweb:x:0:0::/:/bin/sh\n";
const GROUP: &[u8] =
    b"root:x:0:\nwww:x:34:\nextra:x:50:web,other\nmore:x:60:other, web\nnot:x:70:webber\nbad:x:-1:web\n";

fn files() -> UserFiles<'static> {
    UserFiles { passwd: Some(PASSWD), group: Some(GROUP) }
}

fn user(text: &str) -> User {
    User { user: text.to_owned(), ..User::default() }
}

#[track_caller]
fn check(text: &str, expected: (u32, u32, &[u32], &str)) {
    let (uid, gid, groups, home) = expected;
    let expected = ResolvedUser { uid, gid, groups: groups.to_vec(), home: home.to_owned() };
    assert_eq!(resolve(&user(text), "", files()), Ok(expected.clone()), "{text} of the container");
    assert_eq!(resolve(&user(""), text, files()), Ok(expected), "{text} of the image");
}

#[test]
fn users_and_groups_are_found_by_name_and_number() {
    check("", (0, 0, &[0], "/root"));
    check("web", (33, 34, &[34, 50, 60], "/var/www"));
    check("33", (33, 34, &[34, 50, 60], "/var/www"));
    check("web:extra", (33, 50, &[50, 60], "/var/www"));
    check("33:5", (33, 5, &[5, 50, 60], "/var/www"));
    check("4242", (4242, 0, &[0], "/"));
    check("4242:www", (4242, 34, &[34], "/"));
    check("2147483647:2147483647", (2_147_483_647, 2_147_483_647, &[2_147_483_647], "/"));
    check("rel", (7, 7, &[7], "/"));
    check("007", (7, 7, &[7], "/"));
}

#[test]
fn digits_are_never_a_name() {
    // The image has an entry of this very name, with uid 0.
    check("1000", (1000, 0, &[0], "/"));
    for text in ["99999999999", "4294967296", "4294967295", "2147483648", "18446744073709551616", "1:2147483648"] {
        let refused = resolve(&user(text), "", files()).unwrap_err();
        assert!(refused.to_string().contains("out of range"), "{text}: {refused}");
    }
}

#[test]
fn what_is_neither_number_nor_name_is_refused() {
    for text in
        ["1000abc", "+5", "-1", "0x10", ":5", "1:", ":", "1:2:3", "web:", "a b", "a\nroot", "a/b", "web:-1", "a\0"]
    {
        let refused = resolve(&user(text), "", files()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidArgument, "{text:?}");
        assert!(refused.to_string().contains("neither"), "{text:?}: {refused}");
    }
    assert!(resolve(&user(&"a".repeat(300)), "", files()).is_err());
}

#[test]
fn unknown_names_are_said_not_to_be_in_the_image() {
    for (text, file) in [("nobody", "/etc/passwd"), ("bad", "/etc/passwd"), ("web:staff", "/etc/group")] {
        let refused = resolve(&user(text), "", files()).unwrap_err().to_string();
        assert!(refused.contains(file), "{refused}");
    }
    let refused = resolve(&user(""), "ghost", UserFiles::default()).unwrap_err().to_string();
    assert!(refused.starts_with("the image's user"), "{refused}");
}

#[test]
fn group_replaces_and_needs_a_user() {
    let with = |text: &str, group| User { group: Some(group), ..user(text) };
    assert_eq!(resolve(&with("web", 9), "", files()).unwrap().gid, 9);
    assert_eq!(resolve(&with("web:34", 9), "", files()).unwrap().groups, [9, 50, 60]);
    assert!(resolve(&with("", 9), "web", files()).is_err());
    assert!(resolve(&with("web", u32::MAX), "", files()).is_err());
}

#[test]
fn strict_takes_only_what_was_asked_for() {
    let with = |groups_policy| User { supplemental_groups: vec![4000, 50, 4000], groups_policy, ..user("web") };
    assert_eq!(resolve(&with(GroupsPolicy::Merge), "", files()).unwrap().groups, [34, 50, 60, 4000]);
    assert_eq!(resolve(&with(GroupsPolicy::Strict), "", files()).unwrap().groups, [34, 50, 4000]);
    let huge = User { supplemental_groups: vec![u32::MAX], ..user("web") };
    assert!(resolve(&huge, "", files()).is_err());
}

#[test]
fn image_that_puts_a_user_into_too_many_groups_is_refused() {
    let group: Vec<u8> = (0..70_000).flat_map(|gid| format!("g{gid}:x:{gid}:web\n").into_bytes()).collect();
    let refused = resolve(&user("web"), "", UserFiles { passwd: Some(PASSWD), group: Some(&group) });
    assert!(refused.unwrap_err().to_string().contains("70000"));
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_harm(
        text in ".{0,20}", image in ".{0,20}", passwd in prop::collection::vec(any::<u8>(), 0..300),
        group in "([a-z:,0-9\n-]{0,200})",
    ) {
        let files = UserFiles { passwd: Some(&passwd), group: Some(group.as_bytes()) };
        if let Ok(found) = resolve(&user(&text), &image, files) {
            prop_assert!(u64::from(found.uid) <= ID_MAX && u64::from(found.gid) <= ID_MAX);
            prop_assert!(found.groups.contains(&found.gid));
            prop_assert!(found.groups.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(found.home.starts_with('/'));
        }
    }

    #[test]
    fn number_without_an_entry_is_itself(uid in 2000_u32..=i32::MAX as u32, gid in 2000_u32..=i32::MAX as u32) {
        let found = resolve(&user(&format!("{uid}:{gid}")), "", files()).unwrap();
        prop_assert_eq!((found.uid, found.gid, found.groups), (uid, gid, vec![gid]));
    }
}

#[test]
fn groups_beside_may_be_named_and_must_be_there() {
    let asked = |names: &[&str]| {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        resolve(&User { supplemental_group_names: names, ..user("0") }, "", files())
    };
    assert_eq!(asked(&["extra", "7"]).unwrap().groups, [0, 7, 50]);
    for bad in ["nobody", "-1", "a b", "99999999999"] {
        assert_eq!(asked(&[bad]).unwrap_err().kind(), ErrorKind::InvalidArgument, "{bad}");
    }
}
