//! What the library's public face has to say of itself.

use super::{files, read};

/// An async method can be dropped at each of its awaits: its documentation says what
/// that costs.
#[test]
fn each_async_method_says_what_dropping_it_costs() {
    let mut methods = 0;
    for file in files("src/link", "rs") {
        let text = read(&file);
        let lines: Vec<_> = text.lines().map(str::trim_start).collect();
        let is_method = |(_, line): &(usize, &&str)| {
            let is_async = line.contains("pub async fn ") || line.contains("-> impl Future<");
            line.starts_with("pub ") && !line.contains("(crate)") && is_async
        };
        for (place, method) in lines.iter().enumerate().filter(is_method) {
            let above = lines[..place].iter().rev();
            let above = above.take_while(|line| line.starts_with("///") || line.starts_with("#["));
            let is_said = above.into_iter().any(|line| line.contains("ropped"));
            assert!(is_said, "{}: {method}", file.display());
            methods += 1;
        }
    }
    assert!(methods > 15, "{methods}");
}
