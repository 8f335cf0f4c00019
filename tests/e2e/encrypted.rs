//! TLS as an operator sets it up: the tools on the machine go over it, and a renewed certificate is shown without a restart.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use kelly_harness::process::free_address;

use crate::kelly_process::{PATIENCE, kelly as kelly_command, run};

/// What the certificate is of. No DNS has it: the tools must connect to where Kelly listens.
const NAME: &str = "kelly.invalid";

/// Writes a certificate for it and its key where Kelly looks for them.
fn renew(certificate: &Path, key: &Path) {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).expect("a certificate");
    std::fs::write(key, made.signing_key.serialize_pem()).expect("the directory is ours");
    std::fs::write(certificate, made.cert.pem()).expect("the directory is ours");
}

#[test]
fn the_tools_go_over_tls_and_a_renewed_certificate_is_shown() {
    let place = tempfile::tempdir().expect("a directory");
    let text = |name: &str| place.path().join(name).to_str().expect("UTF-8").to_owned();
    let (certificate, key, trusted, data) =
        (text("cert.pem"), text("key.pem"), text("trusted.pem"), text("d"));
    renew(certificate.as_ref(), key.as_ref());
    std::fs::copy(&certificate, &trusted).expect("the directory is ours");
    let listen = free_address();
    let settings = [
        ("KELLY_TLS_CERTIFICATE", certificate.as_str()),
        ("KELLY_TLS_KEY", &key),
        ("KELLY_ALLOWED_HOSTS", NAME),
        ("KELLY_LISTEN", &listen),
        ("KELLY_DATA", &data),
    ];
    let mut up = kelly_command()
        .arg("up")
        .envs(settings)
        .stdin(Stdio::null())
        .stdout(File::create(text("said")).expect("the directory is ours"))
        .stderr(File::create(text("logged")).expect("the directory is ours"))
        .spawn()
        .expect("the kelly binary starts");
    let record = |trusts: Option<&str>| {
        let mut environment = settings.to_vec();
        environment.extend(trusts.map(|file| ("SSL_CERT_FILE", file)));
        run(&["record", "metric", "messages", "3"], &environment, place.path())
    };
    let begun = Instant::now();
    let recorded = |trusts: &str| loop {
        let (code, said, stderr) = record(Some(trusts));
        if code == Some(0) {
            return said;
        }
        assert!(begun.elapsed() < PATIENCE, "nothing was recorded: {stderr}");
    };
    recorded(&trusted);
    let (code, _, stderr) = record(None);
    assert_ne!(code, Some(0));
    assert!(stderr.contains("is not trusted here") && stderr.contains("SSL_CERT_FILE"), "{stderr}");

    renew(certificate.as_ref(), key.as_ref());
    let renewed = text("renewed.pem");
    std::fs::copy(&certificate, &renewed).expect("the directory is ours");
    recorded(&renewed);
    let (code, _, stderr) = record(Some(&trusted));
    assert!(
        code != Some(0) && stderr.contains("is not trusted here"),
        "the old one is not shown any more: {stderr}"
    );

    let said = std::fs::read_to_string(text("said")).expect("what it said");
    assert!(said.contains(&format!("https://{NAME}:")), "{said}");
    rustix::process::kill_process(rustix::process::Pid::from_child(&up), rustix::process::Signal::TERM)
        .expect("it runs");
    assert_eq!(up.wait().expect("it ends").code(), Some(0));
}
