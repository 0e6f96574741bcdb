//! A directory of the host's own, with what should not get out of it.

use super::*;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// A directory that is removed when the test ends.
struct Scratch(PathBuf);

impl Scratch {
    fn make(test: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("tenmil-{test}-{}", std::process::id()));
        std::fs::create_dir_all(path.join("root/sub")).expect("a directory");
        Scratch(path)
    }

    fn root(&self) -> PathBuf {
        self.0.join("root")
    }

    fn directory(&self) -> Directory {
        Directory::open(self.root().to_str(), 2).expect("it is there")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).expect("it is ours");
}

/// Reads all of a file, `piece` bytes at a time.
fn read_all(directory: &mut Directory, opened: Opened, piece: usize) -> Vec<u8> {
    let (mut all, mut room) = (Vec::new(), vec![0; piece]);
    loop {
        match directory.read(opened.file, all.len() as u64, &mut room) {
            Ok(0) => return all,
            Ok(read) => all.extend_from_slice(&room[..read]),
            // The last of these waits.
            Err(ReadError::Later) => {}
            Err(ReadError::Failed) => panic!("it can be read"),
        }
    }
}

#[test]
fn files_are_read_whole() {
    let scratch = Scratch::make("files_are_read_whole");
    let bytes: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
    write(&scratch.root().join("a"), &bytes);
    write(&scratch.root().join("sub/empty"), b"");
    let mut directory = scratch.directory();
    let opened = directory.open(c"a").expect("it is there");
    assert_eq!(opened.len, 400_000);
    let now = directory.unix_time().expect("there is a clock");
    assert!(opened.modified_secs.abs_diff(now) < 60, "{opened:?} at {now}");
    assert!(read_all(&mut directory, opened, 65_535) == bytes);
    let empty = directory.open(c"sub/empty").expect("it is there");
    assert!(empty.len == 0 && read_all(&mut directory, empty, 10).is_empty());
    // Each has its number until it is closed; one more than was asked for can be open.
    assert!(directory.open(c"a").is_ok());
    assert_eq!(directory.open(c"a"), Err(OpenError::Busy));
    directory.close(empty.file);
    directory.close(empty.file);
    assert_eq!(directory.open(c"a").map(|again| again.file), Ok(empty.file), "once");
    assert_eq!(directory.read(FileId(7), 0, &mut [0]), Err(ReadError::Failed));
}

#[test]
fn nothing_outside_of_the_root_is_found() {
    let scratch = Scratch::make("nothing_outside_of_the_root_is_found");
    write(&scratch.0.join("secret"), b"secret");
    write(&scratch.root().join("sub/a"), b"a");
    for (target, name) in [
        ("sub/a", "inside"),
        ("sub", "through"),
        ("../secret", "outside"),
        ("..", "up"),
        ("sub/../../secret", "around"),
        ("/etc/passwd", "absolute"),
        ("loop", "loop"),
        ("/proc/self/root", "magic"),
    ] {
        symlink(target, scratch.root().join(name)).expect("it is ours");
    }
    symlink(scratch.root().join("sub/a"), scratch.root().join("own")).expect("it is ours");
    let mut directory = scratch.directory();
    for path in [c"inside", c"through/a"] {
        let opened = directory.open(path).expect("links inside are followed");
        assert_eq!(read_all(&mut directory, opened, 9), b"a");
        directory.close(opened.file);
    }
    for path in [
        c"outside",
        c"up/secret",
        c"around",
        c"absolute",
        c"own",
        c"loop",
        c"magic/etc/passwd",
        c"../secret",
        c"/etc/passwd",
        c"sub/a/b",
        c"none",
    ] {
        assert_eq!(directory.open(path), Err(OpenError::NotFound), "{path:?}");
    }
}

#[test]
fn only_regular_files_are_read() {
    let scratch = Scratch::make("only_regular_files_are_read");
    let pipe = scratch.root().join("pipe");
    fs::mkfifoat(fs::CWD, &pipe, Mode::RUSR | Mode::WUSR).expect("it is ours");
    let _listening = std::os::unix::net::UnixListener::bind(scratch.root().join("socket"));
    let mut directory = scratch.directory();
    assert_eq!(directory.open(c"pipe"), Err(OpenError::Forbidden));
    assert_eq!(directory.open(c"socket"), Err(OpenError::Forbidden));
    assert_eq!(directory.open(c"sub"), Err(OpenError::IsDirectory));
    assert_eq!(directory.open(c"."), Err(OpenError::IsDirectory));
}

#[test]
fn a_root_is_a_directory_or_none() {
    let scratch = Scratch::make("a_root_is_a_directory_or_none");
    write(&scratch.root().join("a"), b"a");
    for bad in ["a", "none"] {
        assert!(Directory::open(scratch.root().join(bad).to_str(), 1).is_err(), "{bad}");
    }
    let mut without = Directory::open(None, 1).expect("nothing to open");
    assert_eq!(without.open(c"a"), Err(OpenError::NotFound));
}
