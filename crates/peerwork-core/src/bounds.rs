//! The bounds of everything a user hands in, each with its reason.

/// Longest name (user, group, kind) in bytes: what an index of every database takes without truncation.
pub const NAME_BYTES_MAX: usize = 255;

/// Largest payload (input, checkpoint, output) in bytes: half of the smallest default packet of the three
/// servers (16 MiB), so that a statement which carries one always fits.
pub const PAYLOAD_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Longest error text kept, in bytes: enough for a cause chain, too little to fill a disk.
pub const ERROR_BYTES_MAX: usize = 8 * 1024;

/// Errors kept of one task: the newest ones tell why it fails, the first hundred would only say it again.
pub const ERRORS_KEPT_MAX: usize = 10;

/// Longest page of a list, in tasks: bounds the memory of the caller and of the database.
pub const PAGE_MAX: usize = 1_000;

/// Tasks that one statement touches at most: beyond it only the latency of the others grows.
pub const BATCH_MAX: usize = 1_000;

/// Bytes of payload that one batch carries at most; a single larger payload goes alone.
pub const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// How long a tombstone answers "gone" instead of "never existed", in milliseconds (a day).
pub const TOMBSTONE_MS: u64 = 24 * 60 * 60 * 1_000;

/// Cuts `text` to [`ERROR_BYTES_MAX`] bytes at a character boundary, and replaces NUL characters, which
/// PostgreSQL cannot store in text.
pub fn bounded_error(text: &str) -> String {
    // Cut twice: what stands for a NUL is longer than a NUL.
    let mut text = cut(text).replace('\0', "\u{fffd}");
    text.truncate(cut(&text).len());
    text
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(ERROR_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_error_is_cut_at_a_character_boundary() {
        let text = "é".repeat(ERROR_BYTES_MAX);
        let cut = bounded_error(&text);
        assert!(cut.len() <= ERROR_BYTES_MAX && cut.chars().all(|c| c == 'é'));
        assert_eq!(bounded_error("a\0b"), "a\u{fffd}b");
        let nuls = bounded_error(&"a\0".repeat(ERROR_BYTES_MAX));
        assert!(nuls.len() <= ERROR_BYTES_MAX && nuls.starts_with("a\u{fffd}a"));
    }
}
