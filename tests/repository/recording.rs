//! The picture in the README: docs/conversation.svg, made by scripts/record.

use super::read;
use super::readme::block;

/// What a browser would have to keep small, and a reader to wait for.
const SIZE: usize = 200_000;

/// The rows that a terminal shows at the end: what stands there from the start, and is
/// only hidden until it came.
fn rows(picture: &str, side: &str) -> Vec<String> {
    let start = format!("<g id=\"{side}\">");
    let terminal = picture.split(start.as_str()).nth(1).unwrap();
    let lines = terminal.lines().take_while(|line| *line != "</g>");
    let last = lines.filter(|line| line.starts_with("<g style="));
    last.map(text).collect()
}

/// What remains of a line without its tags.
fn text(line: &str) -> String {
    let pieces = line.split('<').filter_map(|piece| piece.split_once('>'));
    let text: String = pieces.map(|(_, text)| text).collect();
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&")
}

#[test]
fn the_picture_shows_the_conversation_of_the_readme() {
    let (picture, readme) = (read("docs/conversation.svg"), read("README.md"));
    assert!(readme.contains("](docs/conversation.svg)"));
    let path = block(&readme, "sh run");
    for (side, terminal) in [("alice", "# terminal 1"), ("bob", "# terminal 2")] {
        let rows = rows(&picture, side);
        let command = path.lines().find_map(|line| line.split_once(terminal));
        let command = command.unwrap().0.trim_end();
        let prompt = format!("{side}$ {command}");
        let is_shown = rows.first().is_some_and(|row| row.starts_with(&prompt));
        assert!(is_shown, "{prompt}: run scripts/record");

        let is_message = |row: &&String| {
            ["Your message: ", "They say: "]
                .iter()
                .any(|it| row.starts_with(it))
        };
        let messages: Vec<_> = rows.iter().filter(is_message).collect();
        let shown = block(&readme, &format!("text {side}"));
        let shown: Vec<_> = shown.lines().collect();
        assert_eq!(messages, shown, "run scripts/record");
    }
}

#[test]
fn the_picture_is_a_picture_and_no_more() {
    let picture = read("docs/conversation.svg");
    assert!(picture.len() < SIZE, "{}", picture.len());
    for foreign in [
        "<script",
        "href",
        "url(",
        "@import",
        "/tmp",
        "foreignObject",
    ] {
        assert!(!picture.contains(foreign), "{foreign}");
    }
    // Without animation, the last state of each row is all that shows.
    assert!(picture.contains(".t{visibility:hidden}"));
    assert!(picture.contains("prefers-reduced-motion:no-preference"));
}
