use super::*;
use proptest::prelude::*;

proptest! {
    #[test]
    fn own_nonces_are_recognised_and_no_others(issued: u64, salt: u64, at in 0..43_usize, to in "[A-Za-z0-9_-]") {
        let signer = NonceSigner::new(&[1; 32], "realm");
        let id = NonceId { issued, salt };
        let nonce = signer.issue(id);
        prop_assert_eq!(nonce.len(), 43);
        prop_assert_eq!(signer.recognise(&nonce), Some(id));
        prop_assert_eq!(NonceSigner::new(&[2; 32], "realm").recognise(&nonce), None);
        prop_assert_eq!(NonceSigner::new(&[1; 32], "Realm").recognise(&nonce), None);
        let mut forged = nonce.clone();
        forged.replace_range(at..=at, &to);
        if forged != nonce {
            prop_assert_eq!(signer.recognise(&forged), None);
        }
    }

    #[test]
    fn anything_else_is_foreign(text in "\\PC{0,80}") {
        prop_assert_eq!(NonceSigner::new(&[1; 32], "realm").recognise(&text), None);
    }
}
