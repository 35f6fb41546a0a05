//! Precedence, by table.

use super::*;

struct Home(PathBuf);

impl Home {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ztsa-settings-{name}-{}", std::process::id()));
        let _fresh = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn flags(&self) -> cli::Global {
        cli::Global { config_dir: Some(self.0.clone()), state_dir: Some(self.0.clone()), ..cli::Global::default() }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_flag_beats_the_environment_beats_the_file_beats_login() {
    let home = Home::new("precedence");
    let gateway = |flags: &cli::Global, environment: &Environment| {
        let settings = Settings::resolve(flags, environment).unwrap();
        settings.gateway.map(|gateway| (gateway.value, gateway.source.to_string()))
    };
    let none = Environment::default();
    assert_eq!(gateway(&home.flags(), &none), None);

    Remembered::write(&home.0.join("profiles/default"), "https://login", None, None).unwrap();
    assert_eq!(gateway(&home.flags(), &none), Some(("https://login".into(), "remembered from login".into())));

    let file = home.0.join("config.toml");
    std::fs::write(&file, "[profiles.default]\ngateway = 'https://file'").unwrap();
    assert_eq!(gateway(&home.flags(), &none), Some(("https://file".into(), file.display().to_string())));

    let environment = Environment::of(&[(env::GATEWAY, "https://env")]);
    assert_eq!(gateway(&home.flags(), &environment), Some(("https://env".into(), "ZTSA_GATEWAY".into())));

    let flags = cli::Global { gateway: Some("https://flag".into()), ..home.flags() };
    assert_eq!(gateway(&flags, &environment), Some(("https://flag".into(), "--gateway".into())));
}

#[test]
fn a_profile_is_chosen_the_same_way() {
    let home = Home::new("profile");
    std::fs::write(home.0.join("config.toml"), "profile = 'work'\n[profiles.work]\nstore = 'memory'").unwrap();
    let settings = Settings::resolve(&home.flags(), &Environment::default()).unwrap();
    assert_eq!((settings.profile.value.as_str(), settings.store.value), ("work", StoreChoice::Memory));

    let environment = Environment::of(&[(env::PROFILE, "home"), (env::STORE, "file")]);
    let settings = Settings::resolve(&home.flags(), &environment).unwrap();
    assert_eq!((settings.profile.value.as_str(), settings.store.value), ("home", StoreChoice::File));
    assert_eq!(settings.store.source.to_string(), "ZTSA_STORE");
}

#[test]
fn roots_remembered_for_one_gateway_are_not_used_for_another() {
    let home = Home::new("roots");
    Remembered::write(&home.0.join("profiles/default"), "https://one.example", Some(b"pem"), None).unwrap();
    let mut settings = Settings::resolve(&home.flags(), &Environment::default()).unwrap();
    assert_eq!(settings.roots.as_ref().map(|roots| roots.value.pem.as_slice()), Some(&b"pem"[..]));
    settings.set_gateway("https://one.example/");
    assert!(settings.roots.is_some());
    settings.set_gateway("https://two.example");
    assert!(settings.roots.is_none());

    let flags = cli::Global { gateway: Some("https://two.example".into()), ..home.flags() };
    assert!(Settings::resolve(&flags, &Environment::default()).unwrap().roots.is_none());
}

#[test]
fn what_is_wrong_names_who_said_it() {
    let home = Home::new("wrong");
    let environment = Environment::of(&[(env::STORE, "cellar")]);
    let error = Settings::resolve(&home.flags(), &environment).unwrap_err();
    assert_eq!(error.to_string(), "`cellar` is not a store: use auto, keyring, file or memory (from ZTSA_STORE)");

    let flags = cli::Global { ca_file: Some(home.0.join("absent.pem")), ..home.flags() };
    let error = Settings::resolve(&flags, &Environment::default()).unwrap_err();
    assert!(error.to_string().ends_with("(from --ca-file)"), "{error}");

    let flags = cli::Global { profile: Some("../up".into()), ..home.flags() };
    assert!(Settings::resolve(&flags, &Environment::default()).unwrap_err().to_string().contains("from --profile"));

    let settings = Settings::resolve(&home.flags(), &Environment::default()).unwrap();
    let error = settings.config().unwrap_err();
    assert_eq!(error.hint(), "ztsa login https://gw.example.com");
}

#[test]
fn a_torn_memory_is_named_and_does_not_stand_in_the_way_of_a_flag() {
    let home = Home::new("torn");
    let dir = home.0.join("profiles/default");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("profile.json"), "{\"gateway\": \"htt").unwrap();
    let settings = Settings::resolve(&home.flags(), &Environment::default()).unwrap();
    assert!(settings.gateway.is_none());
    let error = settings.config().unwrap_err();
    assert!(error.to_string().contains("default/profile.json cannot be read"), "{error}");
    assert_eq!(error.hint(), "ztsa login https://gw.example.com");
    let flags = cli::Global { gateway: Some("https://gw.example".into()), ..home.flags() };
    assert!(Settings::resolve(&flags, &Environment::default()).unwrap().config().is_ok());
}
