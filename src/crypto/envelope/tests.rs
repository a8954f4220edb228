//! What is sealed opens in its place and nowhere else, and nothing that was touched opens at all.

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::core::{EnvironmentId, ProjectId, SecretId, SecretValue};
use crate::crypto::{HashKey, Keyring, SealContext, SealError};

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn default() -> RingName {
    "default".parse().unwrap()
}

fn production() -> RingName {
    "production".parse().unwrap()
}

fn keyring() -> Keyring {
    Keyring::generate(&[default(), production()])
}

fn context() -> SealContext<'static> {
    SealContext {
        project: ProjectId(Uuid::from_u128(1)),
        environment: EnvironmentId(Uuid::from_u128(2)),
        secret: SecretId(Uuid::from_u128(3)),
        key: "DATABASE_URL",
        version: 4,
    }
}

fn value(bytes: &[u8]) -> SecretValue {
    bytes.to_vec().into()
}

fn sealed(keyring: &Keyring) -> String {
    keyring.seal(&default(), &context(), &value(b"s3cret")).unwrap()
}

fn refusal(keyring: &Keyring, text: &str) -> OpenError {
    keyring.open(&context(), text).err().unwrap_or_else(|| panic!("{text} opened"))
}

/// The text with a change to the bytes of its body.
fn with_body(text: &str, change: impl FnOnce(&mut Vec<u8>)) -> String {
    let (head, body) = text.rsplit_once(':').unwrap();
    let mut body = URL_SAFE_NO_PAD.decode(body).unwrap();
    change(&mut body);
    format!("{head}:{}", URL_SAFE_NO_PAD.encode(body))
}

#[test]
fn the_text_is_as_long_as_documented_and_says_its_key() {
    let keyring = keyring();
    let text = sealed(&keyring);
    let id = keyring.ring(&default()).unwrap().primary();
    assert_eq!(text.len(), 3 + 36 + 1 + ((32 + 32 + 6 + 16) * 4usize).div_ceil(3));
    assert!(text.starts_with(&format!("t1:{id}:")));
    assert_eq!(key_id_of(&text), Some(id.to_string().as_str()));
}

#[test]
fn sealing_twice_gives_two_texts() {
    let keyring = keyring();
    assert_ne!(sealed(&keyring), sealed(&keyring));
}

#[test]
fn every_bit_of_the_body_counts() {
    let keyring = keyring();
    let text = sealed(&keyring);
    for bit in 0..(HEAD_LEN + 6 + TAG_LEN) * 8 {
        let altered = with_body(&text, |body| body[bit / 8] ^= 1 << (bit % 8));
        assert_eq!(refusal(&keyring, &altered), OpenError::Tampered, "bit {bit}");
    }
}

/// Of the text, not of the bytes behind it: base64 has characters whose last bits stand for nothing.
#[test]
fn every_character_of_the_text_counts() {
    let keyring = keyring();
    for length in 0..3 {
        let text = keyring.seal(&default(), &context(), &value(&b"abc"[..length])).unwrap();
        for position in 0..text.len() {
            for &character in ALPHABET.iter().chain(b":=\n +/\0") {
                let mut altered = text.clone().into_bytes();
                altered[position] = character;
                let altered = String::from_utf8(altered).unwrap();
                assert!(altered == text || keyring.open(&context(), &altered).is_err(), "{position}: {altered}");
            }
        }
    }
}

#[test]
fn a_text_that_was_cut_or_grew_is_refused_at_every_length() {
    let keyring = keyring();
    let text = sealed(&keyring);
    for length in 0..text.len() {
        refusal(&keyring, &text[..length]);
        refusal(&keyring, &text[length + 1..]);
    }
    for length in 0..HEAD_LEN + 6 + TAG_LEN {
        assert_eq!(refusal(&keyring, &with_body(&text, |body| body.truncate(length))), OpenError::Tampered);
    }
    assert_eq!(refusal(&keyring, &with_body(&text, |body| body.push(0))), OpenError::Tampered);
    for altered in
        [format!("{text}="), format!("{text}\n"), format!(" {text}"), format!("{text}:"), format!("{text}{text}")]
    {
        refusal(&keyring, &altered);
    }
}

#[test]
fn a_text_that_was_moved_is_refused() {
    let keyring = keyring();
    let (here, text) = (context(), sealed(&keyring));
    let other = Uuid::from_u128(99);
    for there in [
        SealContext { project: ProjectId(other), ..here },
        SealContext { environment: EnvironmentId(other), ..here },
        SealContext { secret: SecretId(other), ..here },
        SealContext { key: "DATABASE_URL2", ..here },
        SealContext { key: "", ..here },
        SealContext { version: 3, ..here },
        SealContext { version: -4, ..here },
        // The same identifiers in each other's places.
        SealContext { project: ProjectId(here.environment.0), environment: EnvironmentId(here.project.0), ..here },
        SealContext { environment: EnvironmentId(here.secret.0), secret: SecretId(here.environment.0), ..here },
    ] {
        assert_eq!(keyring.open(&there, &text).err(), Some(OpenError::Tampered), "{there:?}");
    }
    assert!(keyring.open(&here, &text).is_ok());
}

#[test]
fn the_associated_data_is_the_documented_fields_in_order() {
    let id = EncryptionKeyId::from(Uuid::from_u128(9));
    let fields: [(&[u8], usize); 8] = [
        (b"t1", 2),
        (b"value", 5),
        (&Uuid::from_u128(9).into_bytes(), 16),
        (&Uuid::from_u128(1).into_bytes(), 16),
        (&Uuid::from_u128(2).into_bytes(), 16),
        (&Uuid::from_u128(3).into_bytes(), 16),
        (b"DATABASE_URL", 12),
        (&[0, 0, 0, 0, 0, 0, 0, 4], 8),
    ];
    let expected: Vec<u8> =
        fields.iter().flat_map(|(field, length)| [&(*length as u64).to_be_bytes(), *field].concat()).collect();
    assert_eq!(context().associated_data(id), expected);
}

#[test]
fn a_text_under_a_key_that_is_not_held_is_refused_with_the_keys_name() {
    let (ours, theirs) = (keyring(), keyring());
    let text = sealed(&theirs);
    let key = theirs.ring(&default()).unwrap().primary();
    let error = refusal(&ours, &text);
    assert_eq!(error, OpenError::KeyNotHeld { key, ring: None });
    assert_eq!(
        error.in_ring(&production()).with_hint(),
        format!("the keyring does not hold encryption key {key} of ring production (use a keyring that does)")
    );
}

#[test]
fn a_text_that_names_another_held_key_is_refused() {
    let keyring = keyring();
    let [ours, theirs] = [default(), production()].map(|ring| keyring.ring(&ring).unwrap().primary().to_string());
    assert_eq!(refusal(&keyring, &sealed(&keyring).replace(&ours, &theirs)), OpenError::Tampered);
}

#[test]
fn another_key_under_the_same_id_is_refused() {
    let (ours, mut theirs) = (keyring(), keyring());
    theirs.rings[0].primary.id = ours.rings[0].primary.id;
    assert_eq!(refusal(&ours, &sealed(&theirs)), OpenError::Tampered);
}

#[test]
fn the_commitment_and_the_tag_each_refuse_alone() {
    let (ours, mut theirs) = (keyring(), keyring());
    theirs.rings[0].primary.id = ours.rings[0].primary.id;
    let (text, elsewhere) = (sealed(&ours), sealed(&theirs));
    let commitment = SALT_LEN..HEAD_LEN;
    let mut foreign = Vec::new();
    with_body(&elsewhere, |body| foreign.clone_from(body));

    // All is well but the commitment, which is another key's: what a text that opens under two keys would look like.
    let altered = with_body(&text, |body| body[commitment.clone()].copy_from_slice(&foreign[commitment.clone()]));
    assert_eq!(refusal(&ours, &altered), OpenError::Tampered);
    // The commitment is ours, what follows is not.
    let altered = with_body(&text, |body| body[HEAD_LEN..].copy_from_slice(&foreign[HEAD_LEN..]));
    assert_eq!(refusal(&ours, &altered), OpenError::Tampered);
}

#[test]
fn texts_of_others_and_of_later_versions_are_told_apart() {
    let keyring = keyring();
    for text in
        ["", "t1", "plaintext", "vault:v1:abc", "t:x", "t0:x", "t01:x", "t10000:x", "T1:x", "t1a:x", ":t1:", "\\x00"]
    {
        assert_eq!(refusal(&keyring, text), OpenError::NotOurs, "{text}");
        assert_eq!(key_id_of(text), None);
    }
    assert_eq!(refusal(&keyring, "t2:whatever"), OpenError::UnknownVersion(2));
    assert_eq!(refusal(&keyring, "t9999:whatever"), OpenError::UnknownVersion(9999));
    for text in ["t1:", "t1::", "t1:x:y", "t1:00000000-0000-4000-8000-000000000001"] {
        assert_eq!(refusal(&keyring, text), OpenError::Tampered, "{text}");
        assert_eq!(key_id_of(text), None);
    }
}

#[test]
fn an_error_repeats_nothing_of_the_text_but_the_keys_id() {
    let keyring = keyring();
    let text = sealed(&keyring);
    let body = text.rsplit_once(':').unwrap().1;
    for altered in [&text[1..], &text[..text.len() - 1], &text.replacen("t1", "t2", 1), body] {
        let error = refusal(&keyring, altered);
        let message = format!("{error} {error:?}");
        assert!(!message.contains(&body[..8]), "{message}");
    }
}

#[test]
fn nothing_is_sealed_for_a_ring_that_is_not_held() {
    let keyring = Keyring::generate(&[default()]);
    let error = keyring.seal(&production(), &context(), &value(b"s3cret")).unwrap_err();
    assert_eq!(error, SealError::RingNotHeld(production()));
    assert_eq!(error.to_string(), "the keyring does not hold ring production");
    assert_eq!(error.hint().as_deref(), Some("use a keyring that does"));
    assert!(keyring.seal_hash_key(&production(), context().project, &HashKey::generate()).is_err());
    assert!(keyring.fingerprint_key(&production(), "inputs").is_err());
}

#[test]
fn a_hash_key_opens_for_its_project_alone_and_is_no_value() {
    let keyring = keyring();
    let project = context().project;
    let hash_key = HashKey::generate();
    let text = keyring.seal_hash_key(&default(), project, &hash_key).unwrap();
    let opened = keyring.open_hash_key(project, &text).ok().unwrap();
    assert_eq!(opened.id(), hash_key.id());
    assert_eq!(opened.hash(&value(b"s3cret")), hash_key.hash(&value(b"s3cret")));
    assert_eq!(keyring.open_hash_key(ProjectId(Uuid::from_u128(99)), &text).err(), Some(OpenError::Tampered));
    assert_eq!(refusal(&keyring, &text), OpenError::Tampered);
    assert_eq!(keyring.open_hash_key(project, &sealed(&keyring)).err(), Some(OpenError::Tampered));
    for bit in 0..(HEAD_LEN + 48 + TAG_LEN) * 8 {
        let altered = with_body(&text, |body| body[bit / 8] ^= 1 << (bit % 8));
        assert_eq!(keyring.open_hash_key(project, &altered).err(), Some(OpenError::Tampered), "bit {bit}");
    }
}

proptest! {
    #[test]
    fn any_value_at_any_place_survives_sealing(
        bytes: Vec<u8>,
        ids: [u128; 3],
        key: String,
        version: i64,
        in_production: bool,
    ) {
        let keyring = keyring();
        let ring = if in_production { production() } else { default() };
        let [project, environment, secret] = ids.map(Uuid::from_u128);
        let context = SealContext {
            project: ProjectId(project),
            environment: EnvironmentId(environment),
            secret: SecretId(secret),
            key: &key,
            version,
        };
        let text = keyring.seal(&ring, &context, &value(&bytes)).unwrap();
        let opened = keyring.open(&context, &text).ok().unwrap();
        prop_assert_eq!(opened.expose(), bytes);
    }

    #[test]
    fn any_change_to_the_text_is_refused(bytes: Vec<u8>, position: prop::sample::Index, character: char) {
        let keyring = keyring();
        let text = keyring.seal(&default(), &context(), &value(&bytes)).unwrap();
        let position = position.index(text.len());
        let altered = format!("{}{character}{}", &text[..position], &text[position + 1..]);
        prop_assume!(altered != text);
        prop_assert!(keyring.open(&context(), &altered).is_err());
        let longer = format!("{}{character}{}", &text[..position], &text[position..]);
        prop_assert!(keyring.open(&context(), &longer).is_err());
    }

    #[test]
    fn text_that_we_did_not_write_never_opens(text: String) {
        let ours = format!("t1:{text}");
        prop_assert!(keyring().open(&context(), &text).is_err());
        prop_assert!(keyring().open(&context(), &ours).is_err());
    }
}
