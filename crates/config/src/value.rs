//! How one TOML value becomes one typed value.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use toml::de::DeValue;

/// Why a value cannot be taken.
#[derive(Debug)]
pub(crate) enum Fault {
    /// It has another type.
    Type,
    /// It has the right type, but this is wrong with it.
    Value {
        /// What stands at the caret.
        label: String,
        /// The mend.
        help: Option<String>,
    },
}

impl Fault {
    pub(crate) fn value(label: impl Into<String>) -> Self {
        Self::Value { label: label.into(), help: None }
    }

    pub(crate) fn mended(label: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Value { label: label.into(), help: Some(help.into()) }
    }
}

/// A type that can stand behind a key.
pub(crate) trait FromToml: Sized {
    /// What is accepted, so that "`key` must be …" reads well.
    fn expected() -> String;

    /// Takes the value, or says why not.
    fn from_toml(value: &DeValue<'_>) -> Result<Self, Fault>;
}

/// What was found, in words of the file.
pub(crate) fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
    }
}

/// The text of a string value.
pub(crate) fn text<'v>(value: &'v DeValue<'_>) -> Result<&'v str, Fault> {
    value.as_str().ok_or(Fault::Type)
}

/// A non-negative integer that fits.
pub(crate) fn integer(value: &DeValue<'_>) -> Result<u64, Fault> {
    let integer = value.as_integer().ok_or(Fault::Type)?;
    if integer.as_str().starts_with('-') {
        return Err(Fault::value("this is less than zero"));
    }
    let digits = integer.as_str().trim_start_matches('+');
    u64::from_str_radix(digits, integer.radix()).map_err(|_| Fault::value("this number is too large"))
}

/// A type that is one of a few words.
pub(crate) trait Keyword: Copy + 'static {
    /// The words and what they stand for.
    const CHOICES: &'static [(&'static str, Self)];
}

impl<T: Keyword> FromToml for T {
    fn expected() -> String {
        one_of(T::CHOICES.iter().map(|(word, _)| *word))
    }

    fn from_toml(value: &DeValue<'_>) -> Result<Self, Fault> {
        let word = text(value)?;
        T::CHOICES
            .iter()
            .find(|(choice, _)| *choice == word)
            .map(|(_, meaning)| *meaning)
            .ok_or_else(|| unknown_word(word, T::CHOICES.iter().map(|(choice, _)| *choice)))
    }
}

/// "one of …" for a message.
pub(crate) fn one_of<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let mut quoted: Vec<String> = words.map(|word| format!("\"{word}\"")).collect();
    match quoted.pop() {
        Some(last) if !quoted.is_empty() => format!("{} or {last}", quoted.join(", ")),
        Some(only) => only,
        None => String::new(),
    }
}

/// The fault for a word that is none of the known ones.
pub(crate) fn unknown_word<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Fault {
    let label = "not one of these";
    match crate::spelling::nearest(word, known) {
        Some(near) => Fault::mended(label, format!("did you mean \"{near}\"?")),
        None => Fault::value(label),
    }
}

impl FromToml for String {
    fn expected() -> String {
        "a string".to_owned()
    }

    fn from_toml(value: &DeValue<'_>) -> Result<Self, Fault> {
        text(value).map(str::to_owned)
    }
}

impl FromToml for u32 {
    fn expected() -> String {
        "an integer".to_owned()
    }

    fn from_toml(value: &DeValue<'_>) -> Result<Self, Fault> {
        u32::try_from(integer(value)?).map_err(|_| Fault::value("this number is too large"))
    }
}

impl FromToml for PathBuf {
    fn expected() -> String {
        "a path".to_owned()
    }

    fn from_toml(value: &DeValue<'_>) -> Result<Self, Fault> {
        match text(value)? {
            "" => Err(Fault::value("this is empty")),
            path if path.contains('\0') => Err(Fault::value("a path cannot hold a zero byte")),
            path => Ok(Self::from(path)),
        }
    }
}

impl FromToml for SocketAddr {
    fn expected() -> String {
        "an IP address and a port, such as \"127.0.0.1:8080\" or \"[::1]:8080\"".to_owned()
    }

    fn from_toml(value: &DeValue<'_>) -> Result<Self, Fault> {
        let text = text(value)?;
        text.parse().map_err(|_| {
            if let Ok(address) = text.trim_matches(['[', ']']).parse::<std::net::IpAddr>() {
                let whole = SocketAddr::new(address, 8080);
                return Fault::mended("the port is missing", format!("add it: \"{whole}\""));
            }
            if text.parse::<u16>().is_ok() {
                let help = format!("for this machine alone write \"127.0.0.1:{text}\"");
                return Fault::mended("the address is missing", help);
            }
            if let Some(port) = text.strip_prefix(':').or_else(|| text.strip_prefix("*:")) {
                let help =
                    format!("for every address of this machine: \"0.0.0.0:{port}\" or \"[::]:{port}\"");
                return Fault::mended("the address is missing", help);
            }
            match text.rsplit_once(':') {
                Some((name, port)) if !name.is_empty() && port.parse::<u16>().is_ok() => {
                    let help = if name == "localhost" {
                        format!("write \"127.0.0.1:{port}\"")
                    } else {
                        "name the address of an interface; what others are told goes to `advertise`"
                            .to_owned()
                    };
                    Fault::mended("not an IP address", help)
                }
                _ => Fault::value("not an IP address and a port"),
            }
        })
    }
}

/// A name that the operator gives: of the node, a listener or a sink. 1 to 32 of `a-z`, `0-9` and `-`.
///
/// Names end up in flow ids, metric labels and file names, hence the narrow alphabet.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(String);

impl Name {
    /// The longest name, in characters.
    pub const LONGEST: usize = 32;

    /// Takes the text as a name, if it is one.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let fits = (1..=Self::LONGEST).contains(&text.len());
        let plain = text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        (fits && plain).then(|| Self(text.to_owned()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromToml for Name {
    fn expected() -> String {
        "a name of 1 to 32 characters out of a-z, 0-9 and -".to_owned()
    }

    fn from_toml(value: &DeValue<'_>) -> Result<Self, Fault> {
        let text = text(value)?;
        Self::new(text).ok_or_else(|| {
            let label = if text.is_empty() {
                "this is empty"
            } else if text.len() > Self::LONGEST {
                "this is too long"
            } else {
                "it holds other characters"
            };
            let near: String = text
                .to_ascii_lowercase()
                .chars()
                .map(|character| if matches!(character, 'a'..='z' | '0'..='9') { character } else { '-' })
                .take(Self::LONGEST)
                .collect();
            match near.trim_matches('-') {
                "" => Fault::value(label),
                near => Fault::mended(label, format!("write \"{near}\"")),
            }
        })
    }
}
