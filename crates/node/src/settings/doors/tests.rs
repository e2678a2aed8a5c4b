use super::*;
use crate::settings::{NodeSettings, Source};
use std::fs;

const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Folder(tempfile::tempdir().unwrap())
    }

    fn secret(&self, name: &str, content: &str) {
        secret_file::create(&self.0.path().join(name), content.as_bytes(), "x").unwrap();
    }

    fn load(&self, text: &str) -> Result<NodeSettings> {
        let path = self.0.path().join("node.toml");
        fs::write(&path, format!("id = 1\npeers = ['127.0.0.1:7101']\n{text}")).unwrap();
        Source::of_file(&path).load()
    }

    fn error(&self, text: &str) -> String {
        let line = format!("{:#}", self.load(text).unwrap_err());
        assert!(!line.contains('\n'), "{line}");
        line
    }
}

#[test]
fn users_have_digests_and_files_beside_the_configuration() {
    let folder = Folder::new();
    folder.secret("bob.password", "one\nother\n");
    let text = format!(
        "[users.alice]\nrights = ['read', 'write']\npassword_sha256 = '{ABC}'\n\
         [users.bob]\nrights = 'admin'\npassword_sha256 = ['{ABC}']\npassword_file = 'bob.password'\n"
    );
    let settings = folder.load(&text).unwrap();
    let users = &settings.doors.users;
    let rights = |name: &[u8], password: &[u8]| users.enter(name, password).map(|(_, it)| it);
    assert_eq!(rights(b"alice", b"abc"), Some(Rights::READ | Rights::WRITE));
    for password in [&b"abc"[..], b"one", b"other"] {
        assert_eq!(rights(b"bob", password), Some(Rights::ADMIN));
    }
    assert_eq!(rights(b"alice", b"one"), None);
    let shown = format!("{settings:?}");
    assert!(
        shown.contains("alice") && !shown.contains(&ABC[..8]),
        "{shown}"
    );
    assert!(folder.load("").unwrap().doors.users.is_empty());
}

#[test]
fn a_mistake_about_users_is_said_and_no_value_is_repeated() {
    let folder = Folder::new();
    folder.secret("empty", "\n");
    fs::write(folder.0.path().join("open"), "hunter2\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(folder.0.path().join("open"), mode).unwrap();
    let empty = Digest::of(b"").to_hexadecimal();
    for (text, words) in [
        ("users = 'hunter2'", "must be a table"),
        (
            "users.alice = 'hunter2'",
            "`users.alice`: it must be a table",
        ),
        (
            "users.alice.password = 'hunter2'",
            "no key `password`: write `rights`",
        ),
        (
            "users.alice.password_sha256 = 'hunter2'",
            "64 hexadecimal digits",
        ),
        ("users.alice.password_sha256 = 1234567", "must be a string"),
        (
            "users.alice.password_sha256 = ['hunter2']",
            "64 hexadecimal digits",
        ),
        ("users.alice.rights = ['hunter2']", "\"read\", \"write\""),
        (
            &format!("users.alice.password_sha256 = '{ABC}'"),
            "`rights` is not set",
        ),
        (
            "users.alice.rights = 'read'",
            "neither `password_sha256` nor",
        ),
        ("users.alice.password_file = ['a', 'b']", "one path"),
        (
            &format!("users.alice = {{ rights = 'read', password_sha256 = '{empty}' }}"),
            "an empty password",
        ),
        (
            "users.alice = { rights = 'read', password_file = 'open' }",
            "chmod 600",
        ),
        (
            "users.alice = { rights = 'read', password_file = 'empty' }",
            "no secret in it",
        ),
        (
            &format!("users.'a b' = {{ rights = 'read', password_sha256 = '{ABC}' }}"),
            "visible characters",
        ),
    ] {
        let line = folder.error(text);
        assert!(line.contains(words), "{text}: {line}");
        for value in ["hunter2", "1234567", &ABC[..8], &empty[..8]] {
            assert!(!line.contains(value), "{text}: {line}");
        }
    }
}

#[test]
fn tls_needs_a_certificate_and_its_key() {
    let folder = Folder::new();
    for (text, words) in [
        (
            "client_tls.key = 'k'",
            "`[client_tls]`: `certificate` is not set",
        ),
        (
            "client_tls.certificate = 'c'",
            "`[client_tls]`: `key` is not set",
        ),
        (
            "admin_tls.client_ca = 'a'",
            "`[admin_tls]`: `certificate` is not set",
        ),
    ] {
        assert_eq!(folder.error(text), words);
    }
    let settings = folder
        .load("client_tls = { certificate = 'c', key = '/k' }")
        .unwrap();
    let files = settings.doors.client_tls.unwrap();
    assert_eq!(files.certificate, folder.0.path().join("c"));
    assert_eq!(files.key, Path::new("/k"));
}

#[test]
fn what_others_can_reach_is_locked_unless_the_settings_say_insecure() {
    let folder = Folder::new();
    folder.secret("tokens", "0123456789abcdef\n");
    let users = &format!("users.a = {{ rights = 'read', password_sha256 = '{ABC}' }}\n")[..];
    let tls = |table: &str| format!("{table} = {{ certificate = 'c', key = 'k' }}\n");
    let with_ca =
        |table: &str| format!("{table} = {{ certificate = 'c', key = 'k', client_ca = 'a' }}\n");
    let token = "admin_token_file = 'tokens'\n";
    let client = |address: &str| format!("client = '{address}:1'\n");
    let admin = |address: &str| format!("admin = '{address}:1'\n");
    for address in ["127.0.0.1", "127.1.2.3", "[::1]", "[::ffff:127.0.0.1]"] {
        folder.load(&client(address)).unwrap();
        folder.load(&admin(address)).unwrap();
    }
    for address in ["0.0.0.0", "10.1.2.3", "[::]", "[::ffff:10.1.2.3]"] {
        let (client, admin) = (client(address), admin(address));
        for (text, words) in [
            (client.clone(), "set `[users]` and `[client_tls]`"),
            (
                client.clone() + &tls("client_tls"),
                "set `[users]` and `[client_tls]`",
            ),
            (
                client.clone() + users,
                "passwords would cross the network in clear: set `[client_tls]`",
            ),
            (
                client.clone() + &with_ca("admin_tls") + token,
                "set `[users]`",
            ),
            (admin.clone(), "set `admin_token_file` and `[admin_tls]`"),
            (admin.clone() + &tls("admin_tls"), "set `admin_token_file`"),
            (
                admin.clone() + token,
                "tokens would cross the network in clear: set `[admin_tls]`",
            ),
            (
                admin.clone() + users + &with_ca("client_tls"),
                "set `admin_token_file`",
            ),
        ] {
            let line = folder.error(&text);
            let port = if text.starts_with("client") {
                "`client`"
            } else {
                "`admin`"
            };
            assert!(line.starts_with(port), "{text}: {line}");
            assert!(
                line.contains(words) && line.contains("`insecure = true`"),
                "{text}: {line}"
            );
            assert!(
                folder
                    .load(&("insecure = true\n".to_owned() + &text))
                    .unwrap()
                    .insecure
            );
        }
        for text in [
            client.clone() + users + &tls("client_tls"),
            client.clone() + &with_ca("client_tls"),
            admin.clone() + token + &tls("admin_tls"),
            admin.clone() + &with_ca("admin_tls"),
        ] {
            folder.load(&text).unwrap();
        }
    }
}
