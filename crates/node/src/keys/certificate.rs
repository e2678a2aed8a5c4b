//! `quorate keys certificate`: certificates for tests and small clusters, signed by an authority of their own.
use crate::{
    doors::tls::{self, provider},
    secret_file,
};
use anyhow::{Context, Result, anyhow, ensure};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::{
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::WebPkiClientVerifier,
};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};
use zeroize::Zeroizing;

/// The files of the authority in its directory.
const AUTHORITY: &str = "ca.pem";
const AUTHORITY_KEY: &str = "ca.key";

/// The longest name of a host.
const LONGEST: usize = 253;

/// The longest file with a key.
const LONGEST_KEY: usize = 16 * 1024;

/// What `quorate keys certificate` is asked for.
#[derive(clap::Args, Debug)]
pub struct Certificate {
    /// A name or an address of the server, as its clients write it; may be repeated. `localhost` means the loopback
    /// addresses, too. The files are called after the first.
    #[arg(long = "name", required = true, value_name = "HOST")]
    names: Vec<String>,
    /// The directory. If it has an authority (`ca.pem` and `ca.key`), that signs; if not, one is made.
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// It is a client's: it opens ports with a `client_ca`, and no server can use it.
    #[arg(long)]
    client: bool,
    /// For how many years the certificate is valid.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=100))]
    years: u64,
}

impl Certificate {
    /// Makes the certificate, and the authority if there is none. Returns the files that were written.
    pub fn make(&self) -> Result<Vec<PathBuf>> {
        let names = self.all_names()?;
        let first = self.names.first().context("no `--name`")?;
        fs::create_dir_all(&self.out).with_context(|| self.out.display().to_string())?;
        let mut written = Vec::new();
        let (certificate, key) = (self.out.join(AUTHORITY), self.out.join(AUTHORITY_KEY));
        if !certificate.exists() && !key.exists() {
            make_authority(&certificate, &key)?;
            written.extend([certificate.clone(), key.clone()]);
        }
        let text = secret_file::read(&key, LONGEST_KEY)?;
        let text = std::str::from_utf8(&text).ok();
        let signer = text.and_then(|text| KeyPair::from_pem(text).ok());
        let signer =
            signer.with_context(|| format!("{}: there is no private key in it", key.display()))?;
        let issuer = Issuer::new(authority()?, signer);

        let mut parameters = CertificateParams::new(names).context("`--name`")?;
        let purpose = if self.client {
            ExtendedKeyUsagePurpose::ClientAuth
        } else {
            ExtendedKeyUsagePurpose::ServerAuth
        };
        parameters.distinguished_name = called(first);
        parameters.extended_key_usages = vec![purpose];
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.use_authority_key_identifier_extension = true;
        is_valid_for(&mut parameters, self.years)?;
        let own = KeyPair::generate().context("cannot make a key")?;
        let signed = parameters.signed_by(&own, &issuer).context("cannot sign")?;
        self.check(&certificate, signed.der(), first)?;

        let file = |ending: &str| {
            self.out
                .join(format!("{}.{ending}", first.replace('/', "_")))
        };
        let others = "a new certificate would take its place";
        secret_file::create(&file("key"), serialized(&own).as_bytes(), others)?;
        write_public(&file("pem"), &signed.pem())?;
        written.extend([file("pem"), file("key")]);
        Ok(written)
    }

    fn all_names(&self) -> Result<Vec<String>> {
        let mut names = self.names.clone();
        if names.iter().any(|name| name == "localhost") {
            names.extend(["127.0.0.1", "::1"].map(ToOwned::to_owned));
        }
        for name in &names {
            let is_name = name.len() <= LONGEST && ServerName::try_from(name.as_str()).is_ok();
            ensure!(is_name, "`--name`: no name or address of a host");
        }
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// Checks that whoever knows the authority accepts the certificate.
    fn check(&self, authority: &Path, leaf: &CertificateDer<'_>, name: &str) -> Result<()> {
        let roots = Arc::new(tls::authorities(authority)?);
        let refused = |error: rustls::Error| {
            anyhow!(
                "{}: it does not accept what {AUTHORITY_KEY} signs ({error}): only an authority that this command \
                 has made can be used",
                authority.display()
            )
        };
        let now = UnixTime::now();
        if self.client {
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
            let verifier = verifier.build().context("the authority")?;
            verifier
                .verify_client_cert(leaf, &[], now)
                .map_err(refused)?;
        } else {
            let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider());
            let verifier = verifier.build().context("the authority")?;
            let name = ServerName::try_from(name).context("`--name`")?;
            verifier
                .verify_server_cert(leaf, &[], &name, &[], now)
                .map_err(refused)?;
        }
        Ok(())
    }
}

/// From a day ago, as the clocks of others may be slow, for so many years.
fn is_valid_for(parameters: &mut CertificateParams, years: u64) -> Result<()> {
    const DAY: Duration = Duration::from_hours(24);
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .context("the clock stands before 1970")?;
    let now = date_time_ymd(1970, 1, 1) + since;
    parameters.not_before = now - DAY;
    parameters.not_after = now + DAY * u32::try_from(365 * years)?;
    Ok(())
}

fn called(name: &str) -> DistinguishedName {
    let mut called = DistinguishedName::new();
    called.push(DnType::CommonName, name);
    called
}

/// What the authority is. Only its key differs from that of another one.
fn authority() -> Result<CertificateParams> {
    let mut parameters = CertificateParams::new(Vec::<String>::new()).context("the authority")?;
    parameters.distinguished_name = called("Quorate, an authority for one small cluster");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    is_valid_for(&mut parameters, 100)?;
    Ok(parameters)
}

fn make_authority(certificate: &Path, key: &Path) -> Result<()> {
    let pair = KeyPair::generate().context("cannot make a key")?;
    let made = authority()?
        .self_signed(&pair)
        .context("cannot sign the authority")?;
    let others = "whatever it has signed would be void";
    secret_file::create(key, serialized(&pair).as_bytes(), others)?;
    write_public(certificate, &made.pem())
}

fn serialized(pair: &KeyPair) -> Zeroizing<String> {
    Zeroizing::new(pair.serialize_pem())
}

fn write_public(path: &Path, text: &str) -> Result<()> {
    let name = || path.display().to_string();
    let file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path);
    let mut file = file.with_context(name)?;
    std::io::Write::write_all(&mut file, text.as_bytes()).with_context(name)
}
