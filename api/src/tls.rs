//! TLS by rustls over aws-lc: the configuration of a server, and a stream whose handshake is made when it is first used, so
//! that a client that is slow with it holds nobody up.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{Accept, TlsAcceptor};

/// A certificate and its key, with which a server speaks TLS 1.2 and 1.3.
#[derive(Clone)]
pub struct TlsIdentity(Arc<ServerConfig>);

impl std::fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsIdentity")
    }
}

/// What is wrong with a certificate or a key.
#[derive(Debug, thiserror::Error)]
pub enum BadTls {
    /// The certificate's file.
    #[error("the certificate is not PEM (-----BEGIN CERTIFICATE-----), or has none in it")]
    Certificate,
    /// The key's file.
    #[error("the key is not PEM (-----BEGIN PRIVATE KEY-----), or has none in it")]
    Key,
    /// The two together.
    #[error("certificate and key do not go together, or are of a kind that is not supported: {0}")]
    Pair(#[source] rustls::Error),
}

impl TlsIdentity {
    /// The identity of a certificate, with its chain behind it, and its key, both as PEM.
    ///
    /// # Errors
    /// When they cannot be used.
    pub fn of_pem(certificate: &[u8], key: &[u8]) -> Result<Self, BadTls> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(certificate)
            .collect::<Result<_, _>>()
            .map_err(|_| BadTls::Certificate)?;
        if chain.is_empty() {
            return Err(BadTls::Certificate);
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| BadTls::Key)?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(BadTls::Pair)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(BadTls::Pair)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(Arc::new(config)))
    }
}

/// The stream of a connection, encrypted or not.
pub(crate) enum Transport {
    /// As it is.
    Plain(TcpStream),
    /// The handshake is on its way.
    Handshake(Box<Accept<TcpStream>>),
    /// Encrypted.
    Encrypted(Box<TlsStream<TcpStream>>),
    /// The handshake failed.
    Failed,
}

impl Transport {
    /// A stream that was accepted, with the identity it is to be encrypted with, if it is.
    pub(crate) fn new(stream: TcpStream, identity: Option<TlsIdentity>) -> Self {
        match identity {
            None => Self::Plain(stream),
            Some(TlsIdentity(config)) => Self::Handshake(Box::new(TlsAcceptor::from(config).accept(stream))),
        }
    }

    /// Ready once the handshake is over, where there is one.
    pub(crate) fn poll_open(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) | Self::Encrypted(_) => return Poll::Ready(Ok(())),
            Self::Failed => return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
            Self::Handshake(accept) => match Pin::new(accept).poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(stream)) => *self = Self::Encrypted(Box::new(stream)),
                Poll::Ready(Err(error)) => {
                    *self = Self::Failed;
                    return Poll::Ready(Err(error));
                }
            },
        }
        Poll::Ready(Ok(()))
    }

    /// The stream, once it is open.
    fn open(&mut self) -> io::Result<Pin<&mut dyn Stream>> {
        match self {
            Self::Plain(stream) => Ok(Pin::new(stream)),
            Self::Encrypted(stream) => Ok(Pin::new(&mut **stream)),
            Self::Handshake(_) | Self::Failed => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl AsyncRead for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.open()?.poll_read(context, buffer)
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.open()?.poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What is not open yet has nothing to be flushed.
        match self.open() {
            Ok(stream) => stream.poll_flush(context),
            Err(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.open() {
            Ok(stream) => stream.poll_shutdown(context),
            Err(_) => Poll::Ready(Ok(())),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Encrypted(stream) => stream.is_write_vectored(),
            Self::Handshake(_) | Self::Failed => true,
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.open()?.poll_write_vectored(context, slices)
    }
}
