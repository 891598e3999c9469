use super::*;

fn error(errno: Errno) -> io::Error {
    errno.into()
}

#[test]
fn the_advice_is_about_what_stands_in_the_way() {
    let file = || PathBuf::from("home/peers.toml");
    let denied = |is_dir, owner| Obstacle::Permissions {
        path: file(),
        is_dir,
        owner,
    };
    let root = || Owner::Other {
        name: "root".to_owned(),
        me: 1000,
    };
    let own = [
        (Obstacle::File(file()), "the file home/peers.toml"),
        (Obstacle::Directory(file()), "the directory home/peers.toml"),
        (Obstacle::Link(file()), "restore that file"),
        (Obstacle::Absent, "no such file"),
        (denied(false, Owner::Me), "`chmod u+rw home/peers.toml`"),
        (denied(true, Owner::Me), "`chmod u+rwx home/peers.toml`"),
        (
            denied(false, root()),
            "as root, run `chown 1000 home/peers.toml`",
        ),
        (denied(true, root()), "choose another directory"),
        (Obstacle::Forbidden(file()), "what else forbids it"),
        (Obstacle::ReadOnly(file()), "read-only"),
        (Obstacle::Full, "disk is not full"),
        (Obstacle::TooManyHere, "`ulimit -n 1024`"),
        (Obstacle::TooManyEverywhere, "Close other programs"),
        (Obstacle::Unknown, "Check the path"),
    ];
    for (obstacle, expected) in own {
        let told = words(&obstacle, Place::Own);
        assert!(told.contains(expected), "{told}");
        assert!(told.ends_with('.'), "{told}");
    }
    for (obstacle, expected) in [
        (denied(false, root()), "Ask for a copy"),
        (Obstacle::File(file()), "Check the path"),
        (Obstacle::Directory(file()), "give a file in it"),
    ] {
        let told = words(&obstacle, Place::Named);
        assert!(told.contains(expected), "{told}");
        assert!(
            !told.contains("chown") && !told.contains("rename"),
            "{told}"
        );
    }
}

#[test]
fn what_stands_in_the_way_is_found_on_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("file"), "").unwrap();
    std::os::unix::fs::symlink(path("nowhere"), path("link")).unwrap();
    let find = |wanted, name, errno| Obstacle::find(wanted, &path(name), &error(errno));
    let (read, write) = (Wanted::Read, Wanted::Write);
    for (found, expected) in [
        (
            find(read, "file/below/cert.pem", Errno::ENOTDIR),
            Obstacle::File(path("file")),
        ),
        (
            find(write, "file", Errno::EEXIST),
            Obstacle::File(path("file")),
        ),
        (
            find(read, "link", Errno::ENOENT),
            Obstacle::Link(path("link")),
        ),
        (find(read, "nowhere", Errno::ENOENT), Obstacle::Absent),
        (find(write, "nowhere", Errno::ENOENT), Obstacle::Unknown),
        (find(read, "", Errno::EISDIR), Obstacle::Directory(path(""))),
        // Nothing here forbids it.
        (
            find(write, "file", Errno::EPERM),
            Obstacle::Forbidden(path("file")),
        ),
        (
            find(write, "file", Errno::EROFS),
            Obstacle::ReadOnly(path("file")),
        ),
        (find(write, "file", Errno::EFBIG), Obstacle::Full),
        (find(write, "file", Errno::EDQUOT), Obstacle::Full),
        (find(read, "file", Errno::EMFILE), Obstacle::TooManyHere),
        (
            find(read, "file", Errno::ENFILE),
            Obstacle::TooManyEverywhere,
        ),
        (find(read, "file", Errno::EIO), Obstacle::Unknown),
    ] {
        assert_eq!(found, expected);
    }
}

#[test]
fn who_has_a_key_or_a_book_is_not_sent_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    assert!(!is_in_use(dir.path()));
    for file in [CERTIFICATE_FILE, KEY_FILE, BOOK_FILE] {
        fs::write(dir.path().join(file), "").unwrap();
        assert!(is_in_use(dir.path()), "{file}");
        let told = read_only_words(&dir.path().join(file), dir.path(), Place::Own);
        assert!(told.contains("mounted for writing"), "{told}");
        assert!(!told.contains("nother directory"), "{told}");
        fs::remove_file(dir.path().join(file)).unwrap();
    }
    let told = read_only_words(&dir.path().join(BOOK_FILE), dir.path(), Place::Own);
    assert!(told.contains("hoose another directory"), "{told}");
}

#[test]
fn only_what_is_ones_own_may_be_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("turnchat");
    fs::create_dir_all(home.join("journal")).unwrap();
    for (taken_from, is_home_own) in [("HOME", true), ("--home", false), ("--out", false)] {
        let called = Called {
            directory: home.clone(),
            taken_from,
            ..Called::default()
        };
        assert!(is_own(&home.join("journal"), &called));
        assert_eq!(is_own(&home, &called), is_home_own, "{taken_from}");
        assert!(!is_own(dir.path(), &called));
        assert!(!is_own(Path::new("/"), &called));
    }
}

#[test]
fn a_key_of_somebody_else_is_not_closed_by_chmod_alone() {
    let path = Path::new("home/key.pem");
    let mine = loose_words(path, &Owner::Me);
    assert_eq!(mine, "Close it with `chmod 600 home/key.pem`.");
    let other = Owner::Other {
        name: "root".to_owned(),
        me: 1000,
    };
    let told = loose_words(path, &other);
    assert!(told.contains("chown 1000 home/key.pem &&"), "{told}");
}

#[test]
fn only_what_is_about_the_number_of_files_is_taken_for_it() {
    assert!(for_too_many(&error(Errno::EMFILE)).is_some());
    assert!(for_too_many(&error(Errno::ENOSPC)).is_none());
    assert!(for_too_many(&io::Error::other("something")).is_none());
}
