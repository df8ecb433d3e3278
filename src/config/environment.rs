//! `${NAME}` in values: replaced from the environment, and never echoed.

/// Where values come from.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Replaces `${NAME}` and undoes `$$`; every other `$` stays. Appends what was looked up to `used`.
///
/// # Errors
/// A variable that is not set, or `${` that is no reference.
pub(super) fn expand(text: &str, lookup: Lookup<'_>, used: &mut Vec<(String, String)>) -> Result<String, String> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            expanded.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let (name, after) = after.split_once('}').filter(|(name, _)| is_name(name)).ok_or(
                "`${` begins the name of an environment variable, as in ${NAME}; a literal one is written `$${`",
            )?;
            let value = lookup(name).ok_or_else(|| format!("the environment variable {name} is not set"))?;
            expanded.push_str(&value);
            used.push((name.to_owned(), value));
            rest = after;
        } else {
            expanded.push('$');
        }
    }
    expanded.push_str(rest);
    Ok(expanded)
}

/// Replaces the values that came from the environment by their names. Values under four bytes are no secrets, and
/// would be found in any sentence.
pub(super) fn redact(message: &str, used: &[(String, String)]) -> String {
    const SECRET_BYTES_MIN: usize = 4;
    let mut message = message.to_owned();
    for (name, value) in used.iter().filter(|(_, value)| value.len() >= SECRET_BYTES_MIN) {
        let shown = format!("${{{name}}}");
        let escaped = value.escape_debug().to_string();
        message = message.replace(value, &shown).replace(&escaped, &shown);
    }
    message
}

fn is_name(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    name.bytes().next().is_some_and(letter) && name.bytes().all(|byte| letter(byte) || byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> Result<String, String> {
        let lookup = |name: &str| (name == "HOST").then(|| "example.org".to_owned());
        expand(text, &lookup, &mut Vec::new())
    }

    #[test]
    fn references_are_replaced_and_dollars_kept() {
        for (text, value) in [
            ("https://${HOST}/x", "https://example.org/x"),
            ("${HOST}${HOST}", "example.orgexample.org"),
            ("a$", "a$"),
            ("a=~\"b$\"", "a=~\"b$\""),
            ("$$", "$"),
            ("$${HOST}", "${HOST}"),
            ("$HOST", "$HOST"),
        ] {
            assert_eq!(expanded(text).as_deref(), Ok(value));
        }
    }

    #[test]
    fn what_is_not_set_or_no_name_is_an_error() {
        assert_eq!(expanded("${PORT}"), Err("the environment variable PORT is not set".to_owned()));
        for text in ["${", "${HOST", "${}", "${HOST:-x}", "${1}"] {
            assert!(expanded(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_value_is_never_echoed() {
        let used = [("TOKEN".to_owned(), "se\"cret".to_owned())];
        assert_eq!(redact("not \"se\\\"cret\" or se\"cret", &used), "not \"${TOKEN}\" or ${TOKEN}");
    }
}
