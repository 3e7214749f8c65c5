//! A receiver of webhooks on loopback: the demo's "operations channel".

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// Counts what arrives.
#[derive(Debug)]
pub(super) struct Webhook {
    address: String,
    received: Arc<AtomicUsize>,
}

impl Webhook {
    pub(super) async fn listen() -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?.to_string();
        let received = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&received);
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                if answer(connection).await.is_ok() {
                    count.fetch_add(1, Ordering::AcqRel);
                }
            }
        });
        Ok(Self { address, received })
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/ops", self.address)
    }

    /// Messages received so far.
    pub(super) fn received(&self) -> usize {
        self.received.load(Ordering::Acquire)
    }
}

/// Reads one request as far as it comes in one piece, and says yes.
async fn answer(mut connection: TcpStream) -> std::io::Result<()> {
    let mut request = vec![0; 64 * 1024];
    let _bytes = connection.read(&mut request).await?;
    connection.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await
}
