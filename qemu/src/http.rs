//! A web server for guests that answers as a test says.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result};

/// Longest wait for a guest that has connected to say what it wants.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often the thread looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(50);
/// Longest head of a request.
const LONGEST_HEAD: u64 = 64 << 10;

/// What a question is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A document.
    Text(String),
    /// A number and nothing more.
    Status(u16),
    /// Another place.
    Redirect(String),
}

impl Answer {
    fn bytes(&self) -> String {
        let (head, body) = match self {
            Self::Text(text) => ("200 OK".to_owned(), text.as_str()),
            Self::Status(number) => (format!("{number} Because"), ""),
            Self::Redirect(place) => (format!("302 Found\r\nLocation: {place}"), ""),
        };
        format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
    }
}

/// A server on the host's loopback. It ends when it is dropped.
#[derive(Debug)]
pub struct WebServer {
    port: u16,
    heard: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl WebServer {
    /// Begins to serve on a free port. `answer` is asked for each question: the path with its query, and how many came before.
    ///
    /// # Errors
    /// When there is no port.
    pub fn start(answer: impl Fn(&str, usize) -> Answer + Send + 'static) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("find a free port")?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let (heard, stop) = (Arc::<Mutex<Vec<String>>>::default(), Arc::new(AtomicBool::new(false)));
        let (list, stopped) = (Arc::clone(&heard), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                match listener.accept() {
                    // A guest that goes away asks again.
                    Ok((stream, _)) => drop(serve(stream, &list, &answer)),
                    Err(_) => thread::sleep(LOOK),
                }
            }
        });
        Ok(Self { port, heard, stop, thread: Some(thread) })
    }

    /// As a node on QEMU's user network names it: 10.0.2.2 is the host.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://10.0.2.2:{}", self.port)
    }

    /// What was asked for so far, in order.
    #[must_use]
    pub fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for WebServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(stream: TcpStream, heard: &Mutex<Vec<String>>, answer: &impl Fn(&str, usize) -> Answer) -> Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut lines = BufReader::new((&stream).take(LONGEST_HEAD)).lines();
    let first = lines.next().context("no request")??;
    let target = first.split(' ').nth(1).context("no path")?.to_owned();
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let before = {
        let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.push(target.clone());
        heard.len() - 1
    };
    Ok((&stream).write_all(answer(&target, before).bytes().as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_answered_in_order() {
        let server = WebServer::start(|target, before| match (target, before) {
            ("/a?b", 0) => Answer::Redirect("/c".into()),
            ("/c", 1) => Answer::Text("text".into()),
            _ => Answer::Status(404),
        })
        .unwrap();
        let ask = |target: &str| {
            let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
            stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        };
        assert!(ask("/a?b").starts_with("HTTP/1.1 302 Found\r\nLocation: /c\r\n"));
        assert!(ask("/c").ends_with("Content-Length: 4\r\nConnection: close\r\n\r\ntext"));
        assert!(ask("/c").starts_with("HTTP/1.1 404 "));
        assert_eq!(server.heard(), ["/a?b", "/c", "/c"]);
    }
}
