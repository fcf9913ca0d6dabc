//! Comma-separated lists in a setting.

/// Splits at commas; white space around an item goes, double quotes keep it (and commas) in, `""` is a quote.
/// Repeated items count once. An empty text is an empty list; an empty item is an error.
pub fn parse_list(text: &str) -> Result<Vec<String>, String> {
    let mut items: Vec<String> = Vec::new();
    if text.trim().is_empty() {
        return Ok(items);
    }
    let mut rest = text;
    loop {
        let (item, after) = next_item(rest)?;
        if !items.contains(&item) {
            items.push(item);
        }
        match after {
            Some(after) => rest = after,
            None => return Ok(items),
        }
    }
}

/// The first item and what follows its comma.
fn next_item(text: &str) -> Result<(String, Option<&str>), String> {
    let text = text.trim_start();
    let Some(mut quoted) = text.strip_prefix('"') else {
        let (item, after) = match text.split_once(',') {
            Some((item, after)) => (item, Some(after)),
            None => (text, None),
        };
        let item = item.trim();
        if item.is_empty() {
            return Err("there is an empty item between two commas".to_owned());
        }
        if item.contains('"') {
            return Err(format!("a double quote stands inside the item {item}"));
        }
        return Ok((item.to_owned(), after));
    };
    let mut item = String::new();
    loop {
        let Some((part, after)) = quoted.split_once('"') else {
            return Err("a double quote is not closed".to_owned());
        };
        item.push_str(part);
        if let Some(after) = after.strip_prefix('"') {
            item.push('"');
            quoted = after;
            continue;
        }
        let after = after.trim_start();
        if item.is_empty() {
            return Err("there is an empty item in double quotes".to_owned());
        }
        return match after.strip_prefix(',') {
            Some(after) => Ok((item, Some(after))),
            None if after.is_empty() => Ok((item, None)),
            None => Err(format!("something follows the closing quote of {item}")),
        };
    }
}
