//! Request methods (RFC 3261 §7.1 and its extensions).

macro_rules! methods {
    ($($variant:ident $text:literal $rfc:literal;)*) => {
        /// A request method. Case-sensitive and never unescaped: `RE%47ISTER` is not REGISTER.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Method<'b> {
            $(#[doc = $rfc] $variant,)*
            /// Any other token, as it was written.
            Other(&'b [u8]),
        }

        impl<'b> Method<'b> {
            /// The method that these bytes name. They are not checked to be a token.
            #[inline]
            pub fn from_bytes(bytes: &'b [u8]) -> Method<'b> {
                $(if bytes == $text { return Method::$variant; })*
                Method::Other(bytes)
            }

            /// The method as it stands in a request line.
            #[inline]
            pub fn as_bytes(&self) -> &'b [u8] {
                match *self {
                    $(Method::$variant => $text,)*
                    Method::Other(bytes) => bytes,
                }
            }
        }
    };
}

methods! {
    Invite b"INVITE" "RFC 3261 §13.";
    Ack b"ACK" "RFC 3261 §13.";
    Bye b"BYE" "RFC 3261 §15.";
    Cancel b"CANCEL" "RFC 3261 §9.";
    Register b"REGISTER" "RFC 3261 §10.";
    Options b"OPTIONS" "RFC 3261 §11.";
    Message b"MESSAGE" "RFC 3428.";
    Info b"INFO" "RFC 6086.";
    Update b"UPDATE" "RFC 3311.";
    Prack b"PRACK" "RFC 3262.";
    Subscribe b"SUBSCRIBE" "RFC 6665.";
    Notify b"NOTIFY" "RFC 6665.";
    Refer b"REFER" "RFC 3515.";
    Publish b"PUBLISH" "RFC 3903.";
}

impl std::fmt::Display for Method<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.as_bytes()))
    }
}
