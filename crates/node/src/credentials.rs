//! What a command line shows at the doors of a node: tokens, passwords, and certificates.
use crate::{
    doors::{
        tls::{self, provider},
        tokens::first_of,
    },
    http::Server,
};
use anyhow::{Context, Result, bail};
use bytes::BytesMut;
use clap::Args;
use redis_protocol::resp2::{decode::decode_bytes_mut, encode::extend_encode, types::BytesFrame};
use rustls::{ClientConfig, pki_types::ServerName};
use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

/// The variables that the commands read which `quorate lock` runs.
const USER: &str = "QUORATE_USER";
const PASSWORD_FILE: &str = "QUORATE_PASSWORD_FILE";
const TLS_CA: &str = "QUORATE_TLS_CA";
const TLS_NAME: &str = "QUORATE_TLS_NAME";
const TLS_CERTIFICATE: &str = "QUORATE_TLS_CERTIFICATE";
const TLS_KEY: &str = "QUORATE_TLS_KEY";
const IN_CLEAR: &str = "QUORATE_IN_CLEAR";

/// How servers that speak TLS are known, and how they know the client.
#[derive(Args, Clone, Debug, Default)]
pub struct ByTls {
    /// Speak TLS, with servers that these authorities have signed (PEM).
    #[arg(id = "tls_ca", long = "tls-ca", global = true, value_name = "FILE", env = TLS_CA)]
    ca: Option<PathBuf>,
    /// The name in the server's certificate, if it is not the one that it is reached by.
    #[arg(id = "tls_name", long = "tls-name", global = true, value_name = "HOST", env = TLS_NAME, requires = "tls_ca")]
    name: Option<String>,
    /// The certificate to show to the server (PEM),
    #[arg(
        id = "tls_certificate",
        long = "tls-certificate",
        global = true,
        value_name = "FILE",
        env = TLS_CERTIFICATE,
        requires_all = ["tls_ca", "tls_key"]
    )]
    certificate: Option<PathBuf>,
    /// and its private key (PEM, mode 0600).
    #[arg(id = "tls_key", long = "tls-key", global = true, value_name = "FILE", env = TLS_KEY, requires = "tls_certificate")]
    key: Option<PathBuf>,
    /// Show a token or a password to another machine without TLS, too: whoever listens on the way reads it.
    #[arg(id = "in_clear", long = "in-clear", global = true, env = IN_CLEAR)]
    in_clear: bool,
}

/// How a connection becomes one of TLS: the settings, and the server's name.
type Secured = (Arc<ClientConfig>, ServerName<'static>);

impl ByTls {
    /// The settings, and the name of the server that is reached by this one. `None`: speak no TLS.
    fn with(&self, host: &str) -> Result<Option<Secured>> {
        let Some(authorities) = &self.ca else {
            return Ok(None);
        };
        let roots = tls::authorities(authorities)?;
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .context("TLS")?
            .with_root_certificates(roots);
        let config = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => builder
                .with_client_auth_cert(tls::certificates(certificate)?, tls::private_key(key)?)
                .with_context(|| certificate.display().to_string())?,
            _ => builder.with_no_client_auth(),
        };
        let name = self.name.as_deref().unwrap_or(host);
        let server = ServerName::try_from(name.to_owned())
            .with_context(|| format!("`{name}` is no name of a server: see `--tls-name`"))?;
        Ok(Some((Arc::new(config), server)))
    }
}

impl ByTls {
    /// Refuses to show a secret where others could read it on its way to this server.
    fn may_show(&self, what: &str, to: IpAddr) -> Result<()> {
        if self.ca.is_some() || self.in_clear || to.to_canonical().is_loopback() {
            return Ok(());
        }
        bail!(
            "{what} would go to {to} in clear: say `--tls-ca`, or `--in-clear` if nobody can listen"
        )
    }
}

/// What opens the admin port.
#[derive(Args, Clone, Debug, Default)]
pub struct ForOperators {
    /// The file with the token for the admin port (mode 0600).
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "QUORATE_ADMIN_TOKEN_FILE"
    )]
    token_file: Option<PathBuf>,
    #[command(flatten)]
    tls: ByTls,
}

impl ForOperators {
    /// The admin port at this address.
    pub fn server(&self, address: SocketAddr) -> Result<Server> {
        let token = self.token_file.as_deref().map(first_of).transpose()?;
        if token.is_some() {
            self.tls.may_show("the token", address.ip())?;
        }
        let secured = self.tls.with(&address.ip().to_string())?;
        Ok(Server::from(address).with(token.map(Arc::new), secured))
    }
}

/// What opens the port for clients.
#[derive(Args, Clone, Debug, Default)]
pub struct ForClients {
    /// The user [default, with a password: `default`].
    #[arg(long, global = true, value_name = "NAME", env = USER, requires = "password_file")]
    user: Option<String>,
    /// The file with the user's password (mode 0600).
    #[arg(long, global = true, value_name = "FILE", env = PASSWORD_FILE)]
    password_file: Option<PathBuf>,
    #[command(flatten)]
    tls: ByTls,
}

/// A connection, whatever carries it.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// The server does not let this client in. Another replica would not either.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotAdmitted(pub String);

impl ForClients {
    /// The variables that hand this on to a command.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let text = |path: Option<&PathBuf>| path.map(|it| it.display().to_string());
        let tls = &self.tls;
        let all = [
            (USER, self.user.clone()),
            (PASSWORD_FILE, text(self.password_file.as_ref())),
            (TLS_CA, text(tls.ca.as_ref())),
            (TLS_NAME, tls.name.clone()),
            (TLS_CERTIFICATE, text(tls.certificate.as_ref())),
            (TLS_KEY, text(tls.key.as_ref())),
            (IN_CLEAR, tls.in_clear.then(|| "true".to_owned())),
        ];
        let set = all.into_iter();
        set.filter_map(|(name, value)| Some((name, value?)))
            .collect()
    }

    /// The password, read once.
    ///
    /// # Errors
    /// When its file cannot be read, or others can use it.
    pub fn ready(&self) -> Result<Ready> {
        Ok(Ready {
            user: self.user.clone(),
            password: self.password_file.as_deref().map(first_of).transpose()?,
            tls: self.tls.clone(),
        })
    }
}

/// The same, with the password in memory.
#[derive(Default)]
pub struct Ready {
    user: Option<String>,
    password: Option<Zeroizing<String>>,
    tls: ByTls,
}

impl Ready {
    /// Connects to `host:port`, and shows what it has.
    ///
    /// # Errors
    /// [`NotAdmitted`] when the server refuses it; others when it cannot be reached.
    pub async fn connect(&self, address: &str) -> Result<Box<dyn Stream>> {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let secured = self.tls.with(host.trim_matches(['[', ']']))?;
        let plain = TcpStream::connect(address).await?;
        plain.set_nodelay(true)?;
        if self.password.is_some() {
            let shown = self.tls.may_show("the password", plain.peer_addr()?.ip());
            // Another replica would be no better.
            shown.map_err(|error| NotAdmitted(error.to_string()))?;
        }
        let mut stream: Box<dyn Stream> = match secured {
            None => Box::new(plain),
            Some((config, name)) => {
                Box::new(TlsConnector::from(config).connect(name, plain).await?)
            }
        };
        if let Some(password) = &self.password {
            sign_in(&mut stream, self.user.as_deref(), password).await?;
        }
        Ok(stream)
    }
}

async fn sign_in(stream: &mut dyn Stream, user: Option<&str>, password: &str) -> Result<()> {
    let words = [
        "AUTH",
        user.unwrap_or(crate::doors::users::DEFAULT),
        password,
    ];
    let words = words.map(|word| BytesFrame::BulkString(word.to_owned().into()));
    let (mut out, mut input) = (BytesMut::new(), BytesMut::new());
    extend_encode(&mut out, &BytesFrame::Array(words.into()), false)?;
    stream.write_all(&out).await?;
    stream.flush().await?;
    loop {
        match decode_bytes_mut(&mut input)? {
            Some((BytesFrame::SimpleString(_), ..)) => return Ok(()),
            Some((BytesFrame::Error(words), ..)) => {
                // That there is no room is no word about the password.
                if words.starts_with("ERR max number of clients") {
                    bail!("{words}");
                }
                return Err(NotAdmitted(words.to_string()).into());
            }
            Some(_) => bail!("that is no answer to AUTH"),
            None => {}
        }
        if stream.read_buf(&mut input).await? == 0 {
            bail!("the replica closed the connection");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_crosses_no_network_in_clear() {
        let plain = ByTls::default();
        let with_tls = ByTls {
            ca: Some(PathBuf::from("ca.pem")),
            ..ByTls::default()
        };
        let in_clear = ByTls {
            in_clear: true,
            ..ByTls::default()
        };
        for (address, is_shown) in [
            ("127.0.0.1", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("192.0.2.2", false),
            ("::ffff:192.0.2.2", false),
            ("2001:db8::1", false),
        ] {
            let address = address.parse().unwrap();
            assert_eq!(plain.may_show("it", address).is_ok(), is_shown, "{address}");
            assert!(with_tls.may_show("it", address).is_ok());
            assert!(in_clear.may_show("it", address).is_ok());
        }
        // The file with the token is read, and the token stays here.
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        crate::secret_file::create(&file, b"a-token\n", "x").unwrap();
        let operators = ForOperators {
            token_file: Some(file),
            tls: ByTls::default(),
        };
        let there: SocketAddr = "192.0.2.2:8379".parse().unwrap();
        let words = operators.server(there).err().unwrap().to_string();
        assert!(
            words.contains("--tls-ca") && !words.contains("a-token"),
            "{words}"
        );
        assert!(operators.server("127.0.0.1:8379".parse().unwrap()).is_ok());
    }
}
