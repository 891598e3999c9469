//! A strict reader of JSON (RFC 8259). Objects keep their members, repeated ones too; values
//! that the protocol never uses become [`Json::Other`].

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// So many members of an object are kept, and of objects so many levels: more than any frame has.
/// Those past them take no memory.
const KEPT: usize = 8;
const DEEP: usize = 2;

/// Strings are the text's own where nothing in them is escaped.
pub(super) enum Json<'a> {
    /// Digits only: a sign, a fraction or an exponent makes it `Other`.
    Integer(u64),
    String(Cow<'a, str>),
    Object(Vec<(Name<'a>, Json<'a>)>),
    /// An array, a literal, a number that is not an [`Json::Integer`], or an object too deep.
    Other,
}

/// The name of a member.
#[derive(Deserialize)]
pub(super) struct Name<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

impl<'a> Json<'a> {
    /// Reads one whole text. `None` if it is not JSON, or not UTF-8, or has
    /// an unpaired surrogate in a string.
    pub(super) fn parse(text: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }
}

impl<'de> Deserialize<'de> for Json<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        JsonVisitor { depth: 0 }.deserialize(from)
    }
}

/// A value that is in so many objects.
struct JsonVisitor {
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for JsonVisitor {
    type Value = Json<'de>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Json<'de>, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_u64<E>(self, integer: u64) -> Result<Json<'de>, E> {
        Ok(Json::Integer(integer))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Json<'de>, E> {
        Ok(Json::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json<'de>, E> {
        Ok(Json::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Json<'de>, E> {
        Ok(Json::Other)
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Other)
    }

    fn visit_borrowed_str<E>(self, string: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::String(Cow::Borrowed(string)))
    }

    fn visit_str<E>(self, string: &str) -> Result<Json<'de>, E> {
        Ok(Json::String(Cow::Owned(string.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Json<'de>, A::Error> {
        while array.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Json::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Json<'de>, A::Error> {
        let depth = self.depth + 1;
        let mut members = Vec::new();
        while depth <= DEEP
            && members.len() < KEPT
            && let Some(name) = object.next_key()?
        {
            let value = object.next_value_seed(JsonVisitor { depth })?;
            members.push((name, value));
        }
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(match depth <= DEEP {
            true => Json::Object(members),
            false => Json::Other,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_members_of_an_object_are_kept() {
        let text = format!("{{{}}}", [r#""":0"#; 1_000].join(","));
        let Some(Json::Object(members)) = Json::parse(text.as_bytes()) else {
            panic!("it is an object");
        };
        assert_eq!(members.len(), KEPT);
        let Some(Json::Object(members)) = Json::parse(br#"{"say":{"text":{}}}"#) else {
            panic!("it is an object");
        };
        let [(_, Json::Object(members))] = &members[..] else {
            panic!("it is in one");
        };
        assert!(matches!(members[..], [(_, Json::Other)]));
        let unended = text.trim_end_matches('}');
        assert!(Json::parse(unended.as_bytes()).is_none());
    }
}
