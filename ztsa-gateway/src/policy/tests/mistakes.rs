use proptest::prelude::*;

use super::*;

fn mistakes(text: &str) -> Vec<Mistake> {
    match Policies::compile(&[source(text)], &apps(), &Arc::default()) {
        Err(PolicyError::Mistakes(mistakes)) => mistakes,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn each_mistake_is_named_with_its_place() {
    let table = [
        // syntax
        ("permit (principal, action, resource)", 1, "", ""),
        ("permit (principal, action, resource);\nforbid (principal, action, resource) when { context. };", 2, "", ""),
        ("allow (principal, action, resource);", 1, "", ""),
        // what would overflow the stack of Cedar's reader
        (&format!("permit (principal, action, resource);\npermit{}", "(".repeat(100_000)), 2, "32 brackets", "several"),
        // types and names
        (
            "permit (principal, action, resource) when { context.device.posture.disk_rot.state == \"pass\" };",
            1,
            "disk_rot",
            "",
        ),
        ("\n\npermit (principal, action, resource) when { context.auth.age == \"old\" };", 3, "", ""),
        ("@strict forbid (principal, action, resource);", 1, "@strict stands on a forbid", "permit"),
        ("@strict(\"yes\") permit (principal, action, resource);", 1, "@strict takes no value", "alone"),
        ("permit (principal in Team::\"dev\", action, resource);", 1, "Team", ""),
        ("permit (principal, action == Action::\"conect\", resource);", 1, "conect", ""),
        ("permit (principal, action, resource) when { principal.phone == \"1\" };", 1, "phone", ""),
        // annotations
        ("@resaon(\"x\")\npermit (principal, action, resource);", 1, "@resaon", "@reason"),
        ("// a comment; with a semicolon\n@id(\"a;b\")\npermit (principal, action, resource);", 2, "a;b", "letters"),
        ("@id(\"a\")\n@on_change(\"pause\") forbid (principal, action, resource);", 2, "pause", "suspend"),
        ("@mode(\"shadow\") forbid (principal, action, resource);", 1, "shadow", "monitor"),
        ("@code(\"Disk Encryption\") forbid (principal, action, resource);", 1, "Disk Encryption", "posture.NAME"),
        ("@max_age(\"soon\") forbid (principal, action, resource);", 1, "soon", "5m"),
        ("@max_age(\"0s\") forbid (principal, action, resource);", 1, "\"0s\"", "5m"),
        ("\n@step_up(\"\") forbid (principal, action, resource);", 2, "asks for nothing", "mfa"),
        ("@step_up(\" \") forbid (principal, action, resource);", 1, "asks for nothing", "@max_age"),
        ("@step_up(\"mfa\") permit (principal, action, resource);", 1, "permit", "forbid"),
        ("@reason(\"\") forbid (principal, action, resource);", 1, "empty", "sentence"),
        ("permit (principal == ?principal, action, resource);", 1, "template", "write it out"),
        (
            "@id(\"a\")\npermit (principal, action, resource);\n\n  @id(\"a\")\npermit (principal, action, resource);",
            4,
            "taken",
            "main.cedar:1",
        ),
    ];
    for (text, line, cause, hint) in table {
        let found = mistakes(text);
        let first = found.first().unwrap();
        assert_eq!(first.line, line, "{text}: {first}");
        assert!(first.cause.contains(cause), "{text}: {first}");
        assert!(first.hint.as_deref().unwrap_or_default().contains(hint), "{text}: {first}");
        assert!(!first.cause.contains("policy0"), "a number that nobody wrote: {first}");
        assert!(first.to_string().starts_with("main.cedar:"), "{first}");
    }
}

#[test]
fn the_column_points_at_the_word() {
    let found = mistakes("permit (principal, action, resource)\nwhen { \"\u{e9}\" == context.auth.nonsense };");
    let first = found.first().unwrap();
    assert_eq!((first.line, first.column), (2, 15), "{first}");
}

#[test]
fn all_mistakes_are_told_at_once() {
    let found = mistakes(
        "@mode(\"x\") permit (principal, action, resource);\n@mode(\"y\") permit (principal, action, resource);\npermit (principal, action, resource) when { context.nothing };",
    );
    assert_eq!(found.len(), 3, "{found:?}");
}

#[test]
fn names_that_match_no_app_are_warned_of() {
    let policies = compile(
        "permit (principal, action, resource == App::\"db-prdo\");\nforbid (principal, action, resource in Tag::\"Prod\");",
    );
    let warnings: Vec<String> = policies.warnings().iter().map(ToString::to_string).collect();
    assert!(
        warnings.iter().any(|warning| warning.contains("main.cedar:1:") && warning.contains("db-prod")),
        "{warnings:?}"
    );
    assert!(
        warnings.iter().any(|warning| warning.contains("main.cedar:2:") && warning.contains("\"prod\"")),
        "{warnings:?}"
    );
}

#[test]
fn a_policy_that_never_applies_is_warned_of() {
    let policies = compile(
        "@id(\"a\")\npermit (principal,\n  action == Action::\"browse\", resource);\n\
         permit (principal, action in [Action::\"administer\", Action::\"connect\"], resource);\n\
         @step_up(\"\") @max_age(\"5m\") forbid (principal, action, resource);",
    );
    let [warning] = policies.warnings() else { panic!("{:?}", policies.warnings()) };
    assert_eq!((warning.line, warning.column), (3, 13), "{warning}");
    assert!(warning.to_string().contains("never applies") && warning.to_string().contains("Action::\"connect\""));
}

#[test]
fn the_schema_parses_and_names_every_check() {
    let catalogue = Arc::new(Catalogue::default());
    schema::Vocabulary::new(&catalogue).unwrap();
    for id in catalogue.ids() {
        let line = format!("    {}: Fact,\n", ztsa_proto::posture::policy_name(id));
        assert!(schema::text(&catalogue).contains(&line), "{id}");
    }
}

#[test]
fn a_directory_is_read_in_order_and_without_what_editors_leave() {
    let dir = std::env::temp_dir().join(format!("ztsa-policy-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.join(name), text).unwrap();
    write("b.cedar", "permit (principal, action, resource);");
    write("a.cedar", "permit (principal, action, resource);\npermit (principal, action, resource);");
    write(".#a.cedar", "nonsense");
    write("a.cedar~", "nonsense");
    write("README", "nonsense");
    let before = fingerprint(&dir).unwrap();
    let policies = Policies::load(&dir, &apps(), &Arc::default()).unwrap();
    assert_eq!(policies.len(), 3);
    write("b.cedar", "permit (principal, action, resource) when { context.nope };");
    assert_ne!(fingerprint(&dir).unwrap(), before);
    let error = Policies::load(&dir, &apps(), &Arc::default()).unwrap_err().to_string();
    assert!(error.contains("b.cedar:1:"), "{error}");
    // Latin-1, in two files
    std::fs::write(dir.join("c.cedar"), b"// a\n// \xe9\n").unwrap();
    std::fs::write(dir.join("d.cedar"), b"\xff\xfep\0e\0").unwrap();
    let error = Policies::load(&dir, &apps(), &Arc::default()).unwrap_err();
    let places: Vec<_> = error.mistakes().iter().map(|mistake| (mistake.line, mistake.column)).collect();
    assert_eq!(places, [(2, 4), (1, 1)], "{error}");
    assert!(error.to_string().contains("save it as UTF-8"), "{error}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |mode| std::fs::set_permissions(dir.join("b.cedar"), std::fs::Permissions::from_mode(mode)).unwrap();
        mode(0o600);
        let unreadable = fingerprint(&dir).unwrap();
        mode(0o644);
        assert_ne!(fingerprint(&dir).unwrap(), unreadable, "a file that may be read now is tried again");
    }
    std::fs::remove_dir_all(&dir).unwrap();
    assert!(matches!(Policies::load(&dir, &apps(), &Arc::default()), Err(PolicyError::Read { .. })));
}

#[test]
fn what_changes_while_it_is_read_is_read_again() {
    let dir = std::env::temp_dir().join(format!("ztsa-policy-moving-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let copy = |number: usize| std::fs::write(dir.join(format!("{number}.cedar")), "").unwrap();
    let mut reads = 0;
    let (seen, read) = source::settled(&dir, |dir| {
        reads += 1;
        if reads < 3 {
            copy(reads);
        }
        source::read(dir).map(|sources| sources.len())
    });
    assert_eq!((reads, read.unwrap(), seen), (3, 2, fingerprint(&dir).unwrap()), "the whole, and not a part");
    let (seen, read) = source::settled(&dir, |_| {
        reads += 1;
        copy(reads);
        Ok(())
    });
    assert_eq!((reads, seen), (6, 0), "not for ever");
    assert!(read.unwrap_err().to_string().contains("changed while they were read"));
    std::fs::remove_dir_all(&dir).unwrap();
    assert!(matches!(source::settled(&dir, |_| Ok(())), (0, Err(PolicyError::Read { .. }))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_text_at_all_makes_the_reader_panic(text in "[@(){};\"/\\\\a-z:., \n=]{0,200}") {
        let _ = Policies::compile(&[source(&text)], &apps(), &Arc::default());
    }
}
