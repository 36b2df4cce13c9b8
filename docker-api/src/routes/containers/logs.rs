//! `GET /containers/{id}/logs`

use super::find;
use crate::http::error::ApiError;
use crate::http::reply::{Answered, streamed, typed, whole};
use crate::http::server::Call;
use crate::life::Life;
use crate::logs::file::{Streams, start_of_last};
use crate::logs::follow::Follow;
use crate::logs::line::{End, Line, Stream};
use crate::stream::frame::Framing;
use crate::time::{parse_asked, rfc3339_fixed};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use hyper::StatusCode;
use orlop_model::Timestamp;
use std::fs::File;
use std::io::ErrorKind;
use tracing::warn;

/// How lines are chosen and written.
#[derive(Clone, Copy, Debug)]
struct Shape {
    streams: Streams,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    stamps: Stamps,
    details: bool,
    framing: Framing,
}

/// Whether lines bear their times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stamps {
    Yes,
    No,
}

pub(crate) fn answer(call: &Call) -> Answered {
    let found = find::container(&call.app, call.name())?;
    let query = &call.query;
    let streams = Streams { stdout: query.flag("stdout"), stderr: query.flag("stderr") };
    if !streams.stdout && !streams.stderr {
        return Err(ApiError::bad("Bad parameters: you must choose at least one stream"));
    }
    let framing = Framing::of(found.annex.config.tty);
    let shape = Shape {
        streams,
        since: parse_asked(query.text("since"))?,
        until: parse_asked(query.text("until"))?,
        stamps: if query.flag("timestamps") { Stamps::Yes } else { Stamps::No },
        details: query.flag("details"),
        framing,
    };
    let Some(log) = &found.view.asked.spec.log else {
        let message = "configured logging driver does not support reading";
        return Err(ApiError::new(StatusCode::NOT_IMPLEMENTED, message));
    };
    let media_type = framing.media_type(call.version);
    let path = log.directory.join(&log.file);
    let life = Life::watch(&call.app.facade, found.id());
    let tail = query.text("tail").parse::<u64>().ok();
    let follow = query.flag("follow") && (life.runs() || life.is_restarting());
    let failed = |wrong| ApiError::internal(format!("read the log of container {}: {wrong}", found.id()));
    let begin = |file: &File| tail.map_or(Ok(0), |count| start_of_last(file, count, streams));
    let log = match File::open(&path) {
        // It has not been started yet.
        Err(gone) if gone.kind() == ErrorKind::NotFound => {
            return Ok(typed(StatusCode::OK, media_type, whole(Bytes::new())));
        }
        Err(wrong) => return Err(failed(wrong)),
        Ok(file) if follow => {
            let at = begin(&file).map_err(failed)?;
            Follow::open(&path, at).map_err(failed)?
        }
        Ok(file) => {
            let at = begin(&file).map_err(failed)?;
            Follow::new(file, at, None)
        }
    };
    Ok(typed(StatusCode::OK, media_type, streamed(pieces(log, life, shape))))
}

/// Returns the log piece by piece; it ends with the container's run, or at `until`.
fn pieces(log: Follow, life: Life, shape: Shape) -> impl futures_util::Stream<Item = Bytes> + Send + 'static {
    let state = (log, life, Writer::new(shape));
    stream::unfold(state, |(mut log, mut life, mut writer)| async move {
        loop {
            let mut piece = BytesMut::new();
            let until = writer.shape.until;
            let more = tokio::select! {
                more = log.next(&mut life, |line| writer.write(&line, &mut piece)) => more,
                () = sleep_until(until) => return None,
            };
            match more {
                Ok(true) if piece.is_empty() && !writer.over => {}
                Ok(true) if piece.is_empty() => return None,
                Ok(true) => return Some((piece.freeze(), (log, life, writer))),
                Ok(false) => return None,
                Err(wrong) => {
                    warn!(error = %wrong, "a log can't be read to its end");
                    return None;
                }
            }
        }
    })
}

/// Waits for the time at which the log ends.
async fn sleep_until(until: Option<Timestamp>) {
    match until {
        None => std::future::pending().await,
        Some(until) => tokio::time::sleep(until.since(crate::time::now())).await,
    }
}

/// Writes lines as the client wants them.
struct Writer {
    shape: Shape,
    /// Streams in the middle of a line.
    open: [bool; 2],
    over: bool,
}

impl Writer {
    fn new(shape: Shape) -> Self {
        Self { shape, open: [false; 2], over: false }
    }

    fn write(&mut self, line: &Line<'_>, out: &mut BytesMut) {
        let Shape { streams, since, until, stamps, details, framing } = self.shape;
        if until.is_some_and(|until| line.at > until) {
            self.over = true;
            return;
        }
        if !streams.wants(line.stream) || since.is_some_and(|since| line.at < since) {
            return;
        }
        let open = match line.stream {
            Stream::Stdout => &mut self.open[0],
            Stream::Stderr => &mut self.open[1],
        };
        let continues = std::mem::replace(open, line.end == End::Open);
        let mut text = Vec::with_capacity(line.content.len() + 40);
        if stamps == Stamps::Yes && !continues {
            text.extend_from_slice(rfc3339_fixed(line.at).as_bytes());
            text.push(b' ');
        }
        // Options that add details are refused at creation: there are none to show, and a space behind them.
        if details && !continues {
            text.push(b' ');
        }
        text.extend_from_slice(&line.bytes());
        out.extend_from_slice(&framing.frame(line.stream, &text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(shape: impl FnOnce(&mut Shape), lines: &[&str]) -> String {
        let mut asked = Shape {
            streams: Streams { stdout: true, stderr: true },
            since: None,
            until: None,
            stamps: Stamps::No,
            details: false,
            framing: Framing::Raw,
        };
        shape(&mut asked);
        let mut writer = Writer::new(asked);
        let mut out = BytesMut::new();
        for line in lines {
            writer.write(&Line::parse(line.as_bytes()).unwrap(), &mut out);
        }
        String::from_utf8(out.to_vec()).unwrap()
    }

    const LINES: &[&str] = &[
        "1970-01-01T00:00:01.000000000Z stdout P a",
        "1970-01-01T00:00:01.000000000Z stderr F x",
        "1970-01-01T00:00:02.000000000Z stdout F b",
        "1970-01-01T00:00:03.000000000Z stdout F c",
    ];

    #[test]
    fn lines_are_chosen_by_stream_and_time() {
        assert_eq!(written(|_| (), LINES), "ax\nb\nc\n");
        assert_eq!(written(|shape| shape.streams.stderr = false, LINES), "ab\nc\n");
        assert_eq!(written(|shape| shape.since = Some(Timestamp(2_000_000_000)), LINES), "b\nc\n");
        assert_eq!(written(|shape| shape.until = Some(Timestamp(2_000_000_000)), LINES), "ax\nb\n");
    }

    #[test]
    fn a_time_is_before_a_line_and_not_within_it() {
        let text = written(
            |shape| {
                shape.stamps = Stamps::Yes;
                shape.streams.stderr = false;
            },
            LINES,
        );
        assert_eq!(text, "1970-01-01T00:00:01.000000000Z ab\n1970-01-01T00:00:03.000000000Z c\n");
    }
}
