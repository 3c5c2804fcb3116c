//! Removal of protocol upgrade offers from requests. The HTTP server would otherwise close the connection after each
//! request with one. RFC 9110, section 7.8 lets a server ignore offers. No request changes its length.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Connection whose requests carry no upgrade offer.
pub struct Plain<T> {
    io: T,
    requests: Requests,
}

impl<T> Plain<T> {
    /// Wraps a connection.
    pub fn new(io: T) -> Self {
        Self { io, requests: Requests::default() }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Plain<T> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(context, into);
        self.requests.hide_offers(into.filled_mut().get_mut(before..).unwrap_or_default());
        polled
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Plain<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

/// Header fields that delimit a request or offer another protocol.
const FIELDS: [(&[u8], Field); 4] = [
    (b"connection", Field::Connection),
    (b"upgrade", Field::Upgrade),
    (b"content-length", Field::Length),
    (b"transfer-encoding", Field::Encoding),
];
/// Connection option that accompanies an `Upgrade` header.
const OPTION: &[u8] = b"upgrade";
/// Byte that overwrites the part of an offer, which then names no known protocol or connection option.
const HIDDEN: u8 = b'-';

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Connection,
    Upgrade,
    Length,
    Encoding,
    Other,
}

/// Position within a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    /// Within or before the request line.
    RequestLine,
    /// Within a header's name, or in the empty line that ends the head. `fits` has a bit for each of `FIELDS` that
    /// begins like the name so far.
    Name {
        length: usize,
        fits: u8,
    },
    /// Within a header's value. `matched` counts how many letters of `OPTION` the current connection option begins
    /// with.
    Value {
        field: Field,
        matched: Option<usize>,
    },
    Body {
        left: u64,
    },
    ChunkSize {
        size: u64,
        is_over: bool,
    },
    /// Within a chunk's bytes, or in the line end after them.
    Chunk {
        left: u64,
    },
    /// Within a line after the last chunk.
    Trailer {
        is_empty: bool,
    },
}

const LINE_START: Position = Position::Name { length: 0, fits: 0b1111 };

/// Parser that follows a connection's bytes from request to request, as RFC 9112 delimits them. The HTTP server
/// refuses a request that breaks these rules and closes the connection.
#[derive(Debug)]
struct Requests {
    position: Position,
    length: u64,
    is_chunked: bool,
    is_begun: bool,
}

impl Default for Requests {
    fn default() -> Self {
        Self { position: Position::RequestLine, length: 0, is_chunked: false, is_begun: false }
    }
}

impl Requests {
    fn hide_offers(&mut self, mut bytes: &mut [u8]) {
        while !bytes.is_empty() {
            let skipped = self.skip(bytes);
            let Some((byte, rest)) = bytes.get_mut(skipped..).and_then(<[u8]>::split_first_mut) else { return };
            self.position = self.step(byte);
            bytes = rest;
        }
    }

    /// Skips bytes that do not matter and returns their number.
    fn skip(&mut self, bytes: &[u8]) -> usize {
        match &mut self.position {
            Position::Body { left } | Position::Chunk { left } => {
                let skipped = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= u64::try_from(skipped).unwrap_or_default();
                if matches!(self.position, Position::Body { left: 0 }) {
                    *self = Self::default();
                }
                skipped
            }
            Position::Value { field: Field::Other, .. } | Position::Name { fits: 0, .. } => {
                bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len())
            }
            _ => 0,
        }
    }

    fn step(&mut self, byte: &mut u8) -> Position {
        match self.position {
            Position::RequestLine => self.in_request_line(*byte),
            Position::Name { length, fits } => self.in_name(*byte, length, fits),
            Position::Value { .. } if *byte == b'\n' => LINE_START,
            Position::Value { field, matched } => self.in_value(byte, field, matched),
            Position::ChunkSize { size, is_over } => in_chunk_size(*byte, size, is_over),
            Position::Chunk { .. } if *byte == b'\n' => Position::ChunkSize { size: 0, is_over: false },
            Position::Trailer { is_empty: true } if *byte == b'\n' => {
                *self = Self::default();
                Position::RequestLine
            }
            Position::Trailer { is_empty } => {
                Position::Trailer { is_empty: *byte == b'\n' || is_empty && *byte == b'\r' }
            }
            other @ (Position::Body { .. } | Position::Chunk { .. }) => other,
        }
    }

    /// Skips empty lines before a request, as the HTTP server does.
    fn in_request_line(&mut self, byte: u8) -> Position {
        match byte {
            b'\n' if self.is_begun => LINE_START,
            b'\n' | b'\r' => Position::RequestLine,
            _ => {
                self.is_begun = true;
                Position::RequestLine
            }
        }
    }

    fn in_name(&mut self, byte: u8, length: usize, fits: u8) -> Position {
        match byte {
            b'\n' if length == 0 => self.body(),
            b'\n' => LINE_START,
            b'\r' if length == 0 => Position::Name { length, fits },
            b':' => {
                let field =
                    fields(fits).find(|(name, _)| name.len() == length).map_or(Field::Other, |(_, field)| field);
                Position::Value { field, matched: Some(0) }
            }
            _ => {
                let is_next = |(at, (name, _)): (usize, &(&[u8], Field))| {
                    let is_one = fits >> at & 1 == 1 && name.get(length) == Some(&byte.to_ascii_lowercase());
                    u8::from(is_one) << at
                };
                let fits = FIELDS.iter().enumerate().map(is_next).sum();
                Position::Name { length: length.saturating_add(1), fits }
            }
        }
    }

    fn in_value(&mut self, byte: &mut u8, field: Field, matched: Option<usize>) -> Position {
        let matched = match (field, *byte, matched) {
            (_, b' ' | b'\t' | b'\r', _) => matched,
            (Field::Connection, b',', _) => Some(0),
            (Field::Connection, _, Some(count)) => {
                let is_next = OPTION.get(count) == Some(&byte.to_ascii_lowercase());
                let count = is_next.then_some(count.saturating_add(1));
                if count == Some(OPTION.len()) {
                    *byte = HIDDEN;
                }
                count
            }
            (Field::Upgrade, _, Some(_)) => {
                *byte = HIDDEN;
                None
            }
            (Field::Length, digit @ b'0'..=b'9', _) => {
                self.length = self.length.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
                matched
            }
            (Field::Encoding, first, Some(_)) => {
                self.is_chunked = first.eq_ignore_ascii_case(&b'c');
                None
            }
            _ => matched,
        };
        Position::Value { field, matched }
    }

    /// Returns the position after the head.
    fn body(&mut self) -> Position {
        let next = match (self.is_chunked, self.length) {
            (true, _) => Position::ChunkSize { size: 0, is_over: false },
            (false, 0) => Position::RequestLine,
            (false, left) => Position::Body { left },
        };
        *self = Self::default();
        next
    }
}

fn fields(fits: u8) -> impl Iterator<Item = (&'static [u8], Field)> {
    FIELDS.into_iter().enumerate().filter_map(move |(at, field)| (fits >> at & 1 == 1).then_some(field))
}

fn in_chunk_size(byte: u8, size: u64, is_over: bool) -> Position {
    let digit = char::from(byte).to_digit(16).filter(|_| !is_over);
    match (byte, digit) {
        (b'\n', _) if size == 0 => Position::Trailer { is_empty: true },
        (b'\n', _) => Position::Chunk { left: size },
        (_, Some(digit)) => {
            Position::ChunkSize { size: size.saturating_mul(16).saturating_add(u64::from(digit)), is_over }
        }
        (_, None) => Position::ChunkSize { size, is_over: true },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "POST / HTTP/1.1\r\nHost: x\r\nconnection: keep-alive, UPGRADE,HTTP2-Settings\r\nUpgrade: h2c\r\n\
        Upgrade-Insecure-Requests: 1\r\n";
    const HIDDEN_OFFER: &str = "POST / HTTP/1.1\r\nHost: x\r\nconnection: keep-alive, UPGRAD-,HTTP2-Settings\r\n\
        Upgrade: -2c\r\nUpgrade-Insecure-Requests: 1\r\n";
    const TEXT: &str = "a\r\n\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";

    /// Asserts the result for input in pieces of every length.
    fn assert_becomes(before: &str, after: &str) {
        for piece in 1..=before.len() {
            let mut bytes = before.as_bytes().to_vec();
            let mut requests = Requests::default();
            bytes.chunks_mut(piece).for_each(|bytes| requests.hide_offers(bytes));
            assert_eq!(String::from_utf8(bytes).unwrap(), after, "in pieces of {piece} bytes");
        }
    }

    #[test]
    fn every_upgrade_offer_is_hidden() {
        assert_becomes(
            &format!("{OFFER}\r\n{OFFER}\r\n\r\n{OFFER}\r\n"),
            &format!("{HIDDEN_OFFER}\r\n{HIDDEN_OFFER}\r\n\r\n{HIDDEN_OFFER}\r\n"),
        );
    }

    #[test]
    fn a_body_of_known_length_is_unchanged() {
        let body = format!("Content-Length: {}\r\n\r\n{TEXT}", TEXT.len());
        assert_becomes(&format!("{OFFER}{body}{OFFER}\r\n"), &format!("{HIDDEN_OFFER}{body}{HIDDEN_OFFER}\r\n"));
    }

    #[test]
    fn a_chunked_body_is_unchanged() {
        let body = format!(
            "Transfer-Encoding: Chunked\r\n\r\n{:X};x=y\r\n{TEXT}\r\n1\r\n\n\r\n0\r\nUpgrade: h2c\r\n\r\n",
            TEXT.len()
        );
        assert_becomes(&format!("{OFFER}{body}{OFFER}\r\n"), &format!("{HIDDEN_OFFER}{body}{HIDDEN_OFFER}\r\n"));
    }

    #[test]
    fn other_options_and_fields_are_unchanged() {
        let head = "GET /upgrade HTTP/1.1\r\nHost: upgrade\r\nConnection: keep-alive, up, downgrade\r\nX-Upgrade: h2c\r\n\
            Connection-Upgrade: upgrade\r\n\r\n";
        assert_becomes(head, head);
    }
}
