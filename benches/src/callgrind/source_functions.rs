use std::{
    collections::BTreeMap,
    env,
    process::{Command, Output},
};

/// Returns the functions that have the instructions at `addresses`. Without addr2line, returns none.
///
/// Code of the standard library is inlined, so a function is the innermost one outside of that library.
/// For drop glue it is the type that is dropped.
pub(crate) fn source_functions(addresses: &[u64]) -> BTreeMap<u64, String> {
    let Some(output) = addr2line(addresses) else { return BTreeMap::new() };
    // For each address a line `0xADDRESS`, then two lines per function, the innermost function first.
    let listing = String::from_utf8_lossy(&output.stdout);
    let mut functions = BTreeMap::new();
    let (mut address, mut is_final) = (None, false);
    let mut lines = listing.lines();
    while let Some(line) = lines.next() {
        if let Some(digits) = line.strip_prefix("0x") {
            address = u64::from_str_radix(digits, 16).ok();
            is_final = false;
            continue;
        }
        let (Some(address), Some(place)) = (address, lines.next()) else { break };
        if !is_final {
            functions.insert(address, described(line, place));
            is_final = !place.contains("/library/") || dropped(line).is_some();
        }
    }
    functions
}

fn addr2line(addresses: &[u64]) -> Option<Output> {
    Command::new("addr2line")
        .args(["--addresses", "--functions", "--inlines", "--demangle", "--exe"])
        .arg(env::current_exe().ok()?)
        .args(addresses.iter().map(|address| format!("{address:#x}")))
        .output()
        .ok()
}

fn described(function: &str, place: &str) -> String {
    match dropped(function) {
        Some(dropped) => format!("drop of `{dropped}`"),
        None => format!("`{}`, {}", without_arguments(function), last_folders(place)),
    }
}

/// The type that a function of drop glue drops, without the arguments of a type in an `Arc`.
fn dropped(function: &str) -> Option<String> {
    let dropped = function.strip_prefix("drop_in_place<")?;
    match dropped.strip_prefix("alloc::sync::Arc<") {
        Some(shared) => Some(format!("Arc<{}>", shared.split(['<', ',']).next()?)),
        None => Some(without_arguments(dropped)),
    }
}

/// `a::B<c::D>::e` without what is between angle brackets, so that rows stay short.
fn without_arguments(function: &str) -> String {
    let (mut depth, mut short) = (0_u32, String::new());
    for character in function.chars() {
        match character {
            '<' => depth += 1,
            '>' => depth = depth.saturating_sub(1),
            _ if depth == 0 => short.push(character),
            _ => {}
        }
    }
    short.trim_matches(':').to_owned()
}

/// The end of a path: the crate, the file and the line.
fn last_folders(place: &str) -> &str {
    let place = place.split_once(" (discriminator").map_or(place, |(place, _)| place);
    let start = place.rmatch_indices('/').nth(3).map_or(0, |(slash, _)| slash + 1);
    place.get(start..).unwrap_or(place)
}
