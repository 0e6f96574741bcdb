//! Content types, by the ends of file names.

/// What a file of an unknown kind is (RFC 9110 section 8.3 leaves it to the recipient's guess).
pub(super) const UNKNOWN: &str = "application/octet-stream";

/// Ends of names, and the media types registered for them.
const TYPES: [(&str, &str); 40] = [
    ("html", "text/html; charset=utf-8"),
    ("htm", "text/html; charset=utf-8"),
    ("css", "text/css; charset=utf-8"),
    ("js", "text/javascript; charset=utf-8"),
    ("mjs", "text/javascript; charset=utf-8"),
    ("txt", "text/plain; charset=utf-8"),
    ("md", "text/markdown; charset=utf-8"),
    ("csv", "text/csv; charset=utf-8"),
    ("json", "application/json"),
    ("map", "application/json"),
    ("webmanifest", "application/manifest+json"),
    ("xml", "application/xml"),
    ("atom", "application/atom+xml"),
    ("rss", "application/rss+xml"),
    ("xhtml", "application/xhtml+xml"),
    ("svg", "image/svg+xml"),
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("gif", "image/gif"),
    ("webp", "image/webp"),
    ("avif", "image/avif"),
    ("ico", "image/x-icon"),
    ("bmp", "image/bmp"),
    ("woff", "font/woff"),
    ("woff2", "font/woff2"),
    ("ttf", "font/ttf"),
    ("otf", "font/otf"),
    ("wasm", "application/wasm"),
    ("pdf", "application/pdf"),
    ("zip", "application/zip"),
    ("gz", "application/gzip"),
    ("tar", "application/x-tar"),
    ("mp3", "audio/mpeg"),
    ("ogg", "audio/ogg"),
    ("wav", "audio/wav"),
    ("mp4", "video/mp4"),
    ("webm", "video/webm"),
    ("m3u8", "application/vnd.apple.mpegurl"),
    ("ts", "video/mp2t"),
];

/// The content type of the file at `path`.
pub(super) fn of(path: &[u8]) -> &'static str {
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    let Some(dot) = name.iter().rposition(|&byte| byte == b'.') else { return UNKNOWN };
    let end = &name[dot + 1..];
    let found = TYPES.iter().find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(end));
    found.map_or(UNKNOWN, |(_, media)| media)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_name_decides() {
        for (path, media) in [
            ("index.html", "text/html; charset=utf-8"),
            ("a/b.tar.GZ", "application/gzip"),
            ("a.html/b", UNKNOWN),
            ("a.", UNKNOWN),
            ("png", UNKNOWN),
            (".png", "image/png"),
            ("", UNKNOWN),
        ] {
            assert_eq!(of(path.as_bytes()), media, "{path}");
        }
        for (at, (end, _)) in TYPES.iter().enumerate() {
            assert!(TYPES[..at].iter().all(|(before, _)| before != end), "{end} twice");
        }
    }
}
