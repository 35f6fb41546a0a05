use super::*;
use crate::{config::TpmPlace, tpm::tests::SoftTpm};

fn hardware(soft: &SoftTpm) -> Arc<dyn Hardware> {
    Arc::new(soft.tpm())
}

#[tokio::test]
async fn a_key_in_the_tpm_signs_for_the_next_process_too() {
    let soft = SoftTpm::start();
    let key = DeviceKey::make(hardware(&soft)).await.unwrap();
    let next = DeviceKey::read(&key.record(), Some(&hardware(&soft))).unwrap();
    assert_eq!(next.public_key(), key.public_key());
    let signed = apart::sign(&next, |key| key.sign(b"message")).await.unwrap();
    key.public_key().verify(b"message", &signed).unwrap();
    assert!(!next.is_gone().await);
    assert!(next.hardware().unwrap().contains("TPM 2.0"));
    let other = DeviceKey::make(hardware(&soft)).await.unwrap();
    assert_ne!(other.public_key(), key.public_key(), "two profiles have two keys");
}

#[tokio::test]
async fn a_key_that_was_copied_to_another_machine_is_useless() {
    let (soft, other) = (SoftTpm::start(), SoftTpm::start());
    let key = DeviceKey::make(hardware(&soft)).await.unwrap();
    let stolen = DeviceKey::read(&key.record(), Some(&hardware(&other))).unwrap();
    let error = stolen.sign(b"message").unwrap_err();
    assert!(matches!(error, SignError::Gone { .. }), "{error}");
    assert!(stolen.is_gone().await && !key.is_gone().await);
}

#[tokio::test]
async fn a_tpm_that_is_away_for_a_while_takes_no_key_with_it() {
    let mut soft = SoftTpm::start();
    let key = DeviceKey::make(hardware(&soft)).await.unwrap();
    soft.stop();
    let error = key.sign(b"message").unwrap_err();
    assert!(matches!(error, SignError::Unavailable { .. }), "{error}");
    assert!(!key.is_gone().await);
    soft.restart(false);
    key.sign(b"message").unwrap();
}

#[test]
fn a_record_is_read_with_the_hardware_that_it_names_and_no_other() {
    let software = DeviceKey::software().unwrap();
    assert_eq!(DeviceKey::read(&software.record(), None).unwrap().public_key(), software.public_key());
    assert_eq!(software.hardware(), None);
    let tpm: Arc<dyn Hardware> = Arc::new(Tpm::new(TpmPlace::system()));
    let key = HardwareKey { handle: vec![1; 32], public: software.public_key().clone() };
    let record = record::write("tpm2", &key);
    DeviceKey::read(&record, Some(&tpm)).unwrap();
    assert!(matches!(DeviceKey::read(&record, None), Err(SignError::Unavailable { .. })));
    let record = record::write("secure-enclave", &key);
    assert!(matches!(DeviceKey::read(&record, Some(&tpm)), Err(SignError::Unavailable { .. })));
    for damaged in [&b"{"[..], b"{}", b"", b"garbage"] {
        assert_eq!(DeviceKey::read(damaged, Some(&tpm)).unwrap_err(), SignError::Key);
    }
}
