//! Email over a small SMTP server.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::stage::{Stage, until};

/// What it got, and what it says to the next recipients before it takes them.
#[derive(Default)]
struct Mailbox {
    mails: Vec<String>,
    refusals: Vec<&'static str>,
}

async fn serve(stream: TcpStream, mailbox: Arc<Mutex<Mailbox>>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 mail.example.com ready\r\n").await?;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let answer = match line.split([' ', ':', '\r']).next().unwrap_or_default() {
            "RCPT" => mailbox.lock().unwrap().refusals.pop().unwrap_or("250 ok"),
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await?;
                let mut mail = String::new();
                while !mail.ends_with("\r\n.\r\n") {
                    stream.read_line(&mut mail).await?;
                }
                mailbox.lock().unwrap().mails.push(mail);
                "250 taken"
            }
            "QUIT" => "221 bye",
            _ => "250 ok",
        };
        stream.write_all(format!("{answer}\r\n").as_bytes()).await?;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_is_a_thread_of_emails() {
    let stage = Stage::new().await;
    let mailbox = Arc::new(Mutex::new(Mailbox::default()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let inside = mailbox.clone();
    let server = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, inside.clone()));
        }
    });
    // Greylisting: the first try is put off.
    mailbox.lock().unwrap().refusals.push("451 try again");
    let text = format!(
        "[[destination]]\nid = 'mail'\nkind = 'email'\nserver = '{address}'\nencryption = 'none'\n\
         from = 'Kelly <kelly@example.com>'\nto = ['ops@example.com']\nper_minute = 6000\n\
         [[route]]\nid = 'all'\ndestinations = ['mail']\n"
    );
    let service = stage.service(&text).await;
    let mails = || mailbox.lock().unwrap().mails.clone();
    stage.raise(1).await;
    until("the first one", || mails().len() == 1).await;
    stage.resolve(1).await;
    until("its end", || mails().len() == 2).await;
    let [first, last] = &mails()[..] else { panic!("two") };
    let header = |mail: &str, name: &str| {
        let line = mail.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")).map(str::to_owned));
        line.unwrap_or_else(|| panic!("{name} in {mail}"))
    };
    assert_eq!(header(last, "In-Reply-To"), header(first, "Message-ID"));
    assert_eq!(header(first, "Auto-Submitted"), "auto-generated");
    assert_eq!(header(first, "To"), "ops@example.com");
    assert!(header(first, "Subject").contains("slow_answers"), "{first}");
    assert!(header(last, "Subject").contains("RESOLVED"), "{last}");
    // What it will never take is a dead letter.
    mailbox.lock().unwrap().refusals.push("550 no such user");
    stage.raise(2).await;
    until("a dead letter", || service.outbox().overview().dead.len() == 1).await;
    assert_eq!(mails().len(), 2);
    service.stop().await;
    server.abort();
}
