//! TLS on a port: the certificate, who needs one of his own, and the handshake.
//!
//! A handshake has a time limit, and a stranger who has not done it has to go when too many others come (see
//! [`Hall`](super::hall::Hall)). Who does not speak TLS is told so in his own protocol.
use anyhow::{Context, Result, anyhow, ensure};
use rustls::{
    RootCertStore, ServerConfig, ServerConnection,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use std::{
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{io::AsyncWriteExt, net::TcpStream, sync::watch, time::timeout};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// How long a handshake may take.
pub const HANDSHAKE: Duration = Duration::from_secs(5);

/// How many bytes TLS holds of what is written to a client that does not read: little, so that slow clients read as much
/// within the time limits.
const BUFFER: usize = 16 * 1024;

/// The first byte of a handshake.
pub const FIRST_BYTE: u8 = 0x16;

/// The longest file of certificates or of a key, in bytes.
const LONGEST: usize = 1024 * 1024;

/// The files of a port that speaks TLS.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsFiles {
    /// The chain of certificates, the port's own first.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
    /// The authorities that sign certificates of clients; `None`: no client needs one.
    pub client_ca: Option<PathBuf>,
}

/// Who needs a certificate, where an authority for those of clients is named.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Demand {
    /// Everybody.
    Always,
    /// Nobody, at the handshake: there are other ways to come in, or things that are open to all.
    IfAny,
}

/// The only cryptography that is linked.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// The certificates in a file.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let name = || path.display().to_string();
    let length = fs::metadata(path).with_context(name)?.len();
    ensure!(length <= LONGEST as u64, "{}: too long", name());
    let text = fs::read(path).with_context(name)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|error| anyhow!("{}: {error}", name()))?;
    ensure!(
        !found.is_empty(),
        "{}: there is no certificate in it",
        name()
    );
    Ok(found)
}

/// The private key in a file, which must be its owner's alone.
pub fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    let text = crate::secret_file::read(path, LONGEST)?;
    // What is wrong with a key is not said: an error might repeat a part of it.
    PrivateKeyDer::from_pem_slice(&text)
        .map_err(|_| anyhow!("{}: there is no private key in it", path.display()))
}

/// The authorities in a file.
pub fn authorities(path: &Path) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        let added = roots.add(certificate);
        added.map_err(|error| anyhow!("{}: {error}", path.display()))?;
    }
    Ok(roots)
}

impl TlsFiles {
    /// Reads the files.
    ///
    /// # Errors
    /// When one cannot be read, others can use the key, or it is not that of the certificate.
    pub fn load(&self, demand: Demand) -> Result<Arc<ServerConfig>> {
        let chain = certificates(&self.certificate)?;
        let key = private_key(&self.key)?;
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .context("TLS")?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let roots = Arc::new(authorities(path)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
                let verifier = match demand {
                    Demand::Always => verifier,
                    Demand::IfAny => verifier.allow_unauthenticated(),
                };
                let verifier = verifier.build();
                let verifier = verifier.map_err(|error| anyhow!("{}: {error}", path.display()))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let made = builder.with_single_cert(chain, key);
        let made = made.map_err(|error| {
            let (certificate, key) = (self.certificate.display(), self.key.display());
            anyhow!("{certificate} and {key}: {error}")
        })?;
        Ok(Arc::new(made))
    }
}

/// What is told to somebody who does not speak TLS.
pub type Plain = &'static [u8];

/// TLS as a port speaks it now. Clones share it.
#[derive(Clone)]
pub struct Tls {
    config: Arc<watch::Sender<Arc<ServerConfig>>>,
    plain: Plain,
}

impl Tls {
    /// TLS with this certificate.
    pub fn new(config: Arc<ServerConfig>, plain: Plain) -> Self {
        let config = Arc::new(watch::Sender::new(config));
        Tls { config, plain }
    }

    /// From now on handshakes are made with this one.
    pub fn replace(&self, config: Arc<ServerConfig>) {
        self.config.send_replace(config);
    }

    /// Makes the handshake.
    ///
    /// # Errors
    /// When it fails, takes too long, or the other side does not speak TLS, which it is then told.
    pub async fn accept(&self, mut stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let config = self.config.borrow().clone();
        let accepted = timeout(HANDSHAKE, async {
            let mut first = [0];
            if stream.peek(&mut first).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            if first[0] != FIRST_BYTE {
                // The first write always finds room in the socket's buffer.
                stream.write_all(self.plain).await?;
                stream.shutdown().await?;
                crate::resp::discard(stream).await;
                return Err(io::Error::new(ErrorKind::InvalidData, "this is not TLS"));
            }
            let bounded = |session: &mut ServerConnection| session.set_buffer_limit(Some(BUFFER));
            TlsAcceptor::from(config).accept_with(stream, bounded).await
        });
        accepted.await.unwrap_or_else(|_| {
            let words = format!("the handshake was not done within {HANDSHAKE:?}");
            Err(io::Error::new(ErrorKind::TimedOut, words))
        })
    }
}
