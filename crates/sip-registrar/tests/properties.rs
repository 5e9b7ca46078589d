//! What holds for any REGISTER whatever.

use std::collections::BTreeSet;

use proptest::prelude::*;
use sip_message::{Contact, Message, Uri};
use sip_registrar::{
    Change, CurrentBinding, HopMatch, ListedBinding, Policy, ShortExpiry, decide, write_contacts,
};

const POLICY: Policy = Policy {
    min_expires: 60,
    shorter: ShortExpiry::Refused,
    max_expires: 3600,
    default_expires: 600,
    max_contacts: 4,
    gruu: sip_registrar::Gruu::Off,
};

fn contact() -> impl Strategy<Value = String> {
    let uri = prop_oneof![
        "sip:[ab]@[hH](;x=[12])?",
        "sips?:[ab]@h:506[01]",
        Just("tel:+1-2".to_owned()),
        "[a-z@:;<>%\"?]{0,12}"
    ];
    let params = prop_oneof![
        Just(String::new()),
        ";expires=[0-9a]{1,5}",
        ";\\+sip\\.instance=\"<[ab]>\";reg-id=[012]",
        "[;=\"<>a-z0-9]{0,16}"
    ];
    prop_oneof![
        8 => (uri, params).prop_map(|(uri, params)| format!("<{uri}>{params}")),
        1 => Just("*".to_owned()),
        1 => ".{0,20}",
    ]
}

fn bound() -> impl Strategy<Value = (String, Option<(String, u32)>, String, u32, HopMatch)> {
    (
        "sip:[ab]@h(;x=[12])?",
        proptest::option::of(("[ab]", 1u32..3)),
        "c[12]",
        0u32..4,
        prop_oneof![Just(HopMatch::Same), Just(HopMatch::Other)],
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn decisions_are_sound(
        contacts in proptest::collection::vec(contact(), 0..5),
        expires in proptest::option::of("[0-9]{1,4}"),
        have in proptest::collection::vec(bound(), 0..5),
        cseq in 0u32..6,
    ) {
        let mut text = format!("REGISTER sip:h SIP/2.0\r\nTo: <sip:a@h>\r\nCall-ID: c1\r\nCSeq: {cseq} REGISTER\r\n");
        for contact in contacts {
            text.push_str(&format!("Contact: {}\r\n", contact.replace(['\r', '\n'], "")));
        }
        if let Some(expires) = expires {
            text.push_str(&format!("Expires: {expires}\r\n"));
        }
        text.push_str("\r\n");
        let Ok(message) = Message::parse(text.as_bytes()) else { return Ok(()) };
        let bound: Vec<_> = have.iter().map(|(contact, pair, call_id, cseq, way)| CurrentBinding {
            contact: contact.as_bytes(),
            instance: pair.as_ref().map(|pair| pair.0.as_bytes()),
            reg_id: pair.as_ref().map(|pair| pair.1),
            call_id: call_id.as_bytes(),
            cseq: *cseq,
            way: *way,
        }).collect();
        let decision = match decide(&message, &bound, &POLICY) {
            Ok(decision) => decision,
            Err(refusal) => {
                prop_assert!(matches!(refusal.status(), 400 | 403 | 423 | 500));
                prop_assert_eq!(refusal.status() == 423, refusal.min_expires().is_some());
                return Ok(());
            }
        };
        let mut touched = BTreeSet::new();
        let mut left = bound.len();
        for change in &decision.changes {
            let (binding, wish) = match change {
                Change::Add(wish) => (None, Some(wish)),
                Change::Refresh { binding, with } | Change::Replace { binding, with } => (Some(*binding), Some(with)),
                Change::Remove { binding } => (Some(*binding), None),
            };
            if let Some(binding) = binding {
                prop_assert!(touched.insert(binding), "a binding is changed twice");
                prop_assert!(bound[binding].call_id != b"c1" || bound[binding].cseq < cseq);
            }
            if let Some(wish) = wish {
                prop_assert!((60..=3600).contains(&wish.expires));
                prop_assert!(wish.reg_id.is_none() || wish.instance.is_some());
            }
            if let (Change::Refresh { with, .. }, Some(binding)) = (change, binding) {
                prop_assert_eq!(bound[binding].contact, with.uri.as_bytes());
                prop_assert_eq!(bound[binding].way, HopMatch::Same);
            }
            match change {
                Change::Add(_) => left += 1,
                Change::Remove { .. } => left -= 1,
                Change::Refresh { .. } | Change::Replace { .. } => {}
            }
        }
        prop_assert!(left <= 4.max(bound.len()));

        // What would be listed reads back as it was registered.
        let mut out = Vec::new();
        let wishes: Vec<_> = decision.changes.iter().filter_map(|change| match change {
            Change::Add(wish) | Change::Refresh { with: wish, .. } | Change::Replace { with: wish, .. } => Some(wish),
            Change::Remove { .. } => None,
        }).collect();
        write_contacts(wishes.iter().map(|wish| ListedBinding {
            contact: wish.uri.as_bytes(),
            instance: wish.instance,
            reg_id: wish.reg_id,
            q: wish.q,
            expires: wish.expires,
            gruu: Some("a@example.com"),
        }), &mut out);
        let mut answer = b"SIP/2.0 200 OK\r\nContact: ".to_vec();
        answer.extend_from_slice(&out);
        answer.extend_from_slice(b"\r\n\r\n");
        let answer = Message::parse(&answer).unwrap();
        let listed: Vec<_> = answer.contacts().map(|(_, contact)| contact.unwrap()).collect();
        prop_assert_eq!(listed.len(), wishes.len());
        for (listed, wish) in listed.iter().zip(wishes) {
            let Contact::Addr(listed) = listed else { panic!("a star was listed") };
            prop_assert_eq!(listed.uri_bytes(), wish.uri.as_bytes());
            prop_assert_eq!(listed.expires(), Some(wish.expires));
            let gruu = listed.params().get(b"pub-gruu").map(|param| param.unquoted().unwrap().to_vec());
            let gruu = gruu.as_deref().map(|gruu| Uri::parse(gruu).unwrap());
            let named = gruu.and_then(|gruu| gruu.unescaped_gr());
            prop_assert_eq!(named.as_deref(), wish.instance);
            prop_assert!(gruu.is_none_or(|gruu| gruu.address_of_record().as_deref() == Some("a@example.com")));
            prop_assert_eq!((listed.instance(), listed.reg_id(), listed.q()), (wish.instance, wish.reg_id, wish.q));
        }
    }
}
