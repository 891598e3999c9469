//! [`Letters`]: what the terminal makes of letters, as far as the locale tells.

use std::env;

/// What a terminal makes of letters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Letters {
    /// It shows no UTF-8: one of its bytes might steer it, as 9B does, which is in `Û`.
    are_ascii: bool,
    /// Those that are narrow here and wide there are wide (UAX #11, "ambiguous").
    are_wide: bool,
}

/// Where ambiguous letters are wide.
const WIDE: [&str; 3] = ["ja", "ko", "zh"];

impl Letters {
    /// As the environment names the locale (POSIX, XBD 8.2: `LC_ALL`, `LC_CTYPE`, `LANG`, the
    /// first that is set and not empty).
    pub fn of_locale() -> Self {
        let names = ["LC_ALL", "LC_CTYPE", "LANG"].map(env::var_os);
        let mut names = names.into_iter().flatten();
        let name = names.find(|name| !name.is_empty()).unwrap_or_default();
        Self::named(&name.to_string_lossy())
    }

    /// As this locale has it: `ja_JP.UTF-8`, or `UTF-8` alone.
    pub fn named(locale: &str) -> Self {
        let (locale, _) = locale.split_once('@').unwrap_or((locale, ""));
        let (language, charset) = locale.split_once('.').unwrap_or((locale, locale));
        let is_utf8 = charset.eq_ignore_ascii_case("utf-8") || charset.eq_ignore_ascii_case("utf8");
        let language = language.split('_').next().unwrap_or_default();
        Self {
            are_ascii: !is_utf8,
            are_wide: WIDE.contains(&language),
        }
    }

    /// Whether all but ASCII is shown by number.
    pub fn are_ascii(self) -> bool {
        self.are_ascii
    }

    /// Whether ambiguous letters take two cells.
    pub fn are_wide(self) -> bool {
        self.are_wide
    }

    /// The text as this terminal can show it.
    pub fn show(self, text: String) -> String {
        match self.are_ascii && !text.is_ascii() {
            true => text.chars().map(by_number).collect(),
            false => text,
        }
    }
}

fn by_number(c: char) -> String {
    match c.is_ascii() {
        true => c.to_string(),
        false => c.escape_unicode().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::Letters;

    #[test]
    fn the_locale_says_whether_letters_are_utf8_and_wide() {
        for (name, are_ascii, are_wide) in [
            ("C.UTF-8", false, false),
            ("en_US.utf8", false, false),
            ("UTF-8", false, false),
            ("de_DE.UTF-8@euro", false, false),
            ("ja_JP.UTF-8", false, true),
            ("zh_TW.Big5", true, true),
            ("de_DE.ISO-8859-1", true, false),
            ("C", true, false),
            ("POSIX", true, false),
            ("", true, false),
        ] {
            let wanted = Letters {
                are_ascii,
                are_wide,
            };
            assert_eq!(Letters::named(name), wanted, "{name}");
        }
    }

    #[test]
    fn where_only_ascii_is_shown_other_letters_are_numbers() {
        let text = || "Zoë: \\u{1b}, Û".to_owned();
        assert_eq!(
            Letters::named("C").show(text()),
            "Zo\\u{eb}: \\u{1b}, \\u{db}"
        );
        assert_eq!(Letters::named("C.UTF-8").show(text()), text());
    }
}
