use crate::*;

/// The `response` in an answer.
fn response(value: &str) -> &str {
    value.split("response=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap()
}

const RFC_7616_NONCE: &str = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v";
const RFC_7616_CNONCE: &str = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";

#[test]
fn rfc_7616_section_3_9_1() {
    let vectors = [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ];
    for (algorithm, expected) in vectors {
        let header = format!(
            "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm={algorithm}, \
             nonce=\"{RFC_7616_NONCE}\", opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
        );
        let challenge = Challenge::parse(header.as_bytes()).unwrap();
        let value =
            answer(&challenge, "GET", "/dir/index.html", "Mufasa", "Circle of Life", RFC_7616_CNONCE, 1);
        assert_eq!(response(&value), expected);
        assert!(value.contains("opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""));
        assert!(value.contains("nc=00000001"));
    }
}

/// With the response as erratum 4897 corrects it.
#[test]
fn rfc_7616_section_3_9_2() {
    let header = "Digest realm=\"api@example.org\", qop=\"auth\", algorithm=SHA-512-256, \
                  nonce=\"5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK\", charset=UTF-8, userhash=true";
    let challenge = Challenge::parse(header.as_bytes()).unwrap();
    let cnonce = "NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v";
    let value = answer(&challenge, "GET", "/doe.json", "Jäsøn Doe", "Secret, or not?", cnonce, 1);
    assert_eq!(response(&value), "3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5");
}

#[test]
fn rfc_2617_section_3_5() {
    let header = "Digest realm=\"testrealm@host.com\", qop=\"auth,auth-int\", \
                  nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"";
    let challenge = Challenge::parse(header.as_bytes()).unwrap();
    let value = answer(&challenge, "GET", "/dir/index.html", "Mufasa", "Circle Of Life", "0a4f113b", 1);
    assert_eq!(response(&value), "6629fae49393a05397450978507c4ef1");
}

/// As the erratum to RFC 2069 has it.
#[test]
fn rfc_2069_without_qop() {
    let header = "Digest realm=\"testrealm@host.com\", nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\"";
    let challenge = Challenge::parse(header.as_bytes()).unwrap();
    assert_eq!(challenge.qop, Qop::Absent);
    let value = answer(&challenge, "GET", "/dir/index.html", "Mufasa", "CircleOfLife", "unused", 1);
    assert_eq!(response(&value), "1949323746fe6a43ef61f9606e7febea");
    assert!(!value.contains("nc=") && !value.contains("cnonce"));
}

#[test]
fn what_cannot_be_answered() {
    let cases: [(&str, ChallengeError); 6] = [
        ("Basic realm=\"x\"", ChallengeError::OtherScheme),
        ("Digest realm=\"x", ChallengeError::Malformed(ParamsError::OpenQuote)),
        ("Digest realm=\"x\"", ChallengeError::MissingParameter),
        ("Digest nonce=\"x\"", ChallengeError::MissingParameter),
        ("Digest realm=\"x\", nonce=\"y\", algorithm=MD5-sess", ChallengeError::UnknownAlgorithm),
        ("Digest realm=\"x\", nonce=\"y\", qop=\"auth-int\"", ChallengeError::UnknownQop),
    ];
    for (header, error) in cases {
        assert_eq!(Challenge::parse(header.as_bytes()), Err(error), "{header}");
    }
}
