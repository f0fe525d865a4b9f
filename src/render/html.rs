//! Pages: text that is put into HTML.

/// A script that moves and zooms a picture on a canvas, by pointer, wheel, touch and keys.
pub(crate) const PANZOOM: &str = include_str!("panzoom.js");

/// Text within HTML, also within the quotes of an attribute.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A skeleton with parts in the places of their names, which are in double braces. What was filled in is not looked at
/// again, so that a title may have braces.
pub(crate) fn filled<T: AsRef<str>>(skeleton: &str, parts: &[(&str, T)]) -> String {
    let room = parts.iter().map(|(_, part)| part.as_ref().len()).sum::<usize>();
    let (mut html, mut rest) = (String::with_capacity(skeleton.len() + room), skeleton);
    while let Some(at) = rest.find("{{") {
        html.push_str(&rest[..at]);
        rest = &rest[at..];
        match parts.iter().find(|(name, _)| rest.starts_with(name)) {
            Some((name, part)) => {
                html.push_str(part.as_ref());
                rest = &rest[name.len()..];
            }
            None => {
                html.push_str("{{");
                rest = &rest[2..];
            }
        }
    }
    html + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_filled_in_is_not_looked_at_again() {
        let parts = [("{{a}}", "{{b}}"), ("{{b}}", "x")];
        assert_eq!(filled("<{{a}}{{b}}{{c}}>", &parts), "<{{b}}x{{c}}>");
        assert_eq!(escaped("a<b> & \"c\""), "a&lt;b&gt; &amp; &quot;c&quot;");
    }
}
