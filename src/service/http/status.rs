//! The status codes that are answered (RFC 9110 section 15).

/// How a request was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Status {
    /// 100 Continue: the content that was announced may come.
    Continue,
    /// 200 OK.
    Ok,
    /// 206 Partial Content: the range that was asked for.
    PartialContent,
    /// 301 Moved Permanently: a directory without its slash.
    MovedPermanently,
    /// 304 Not Modified.
    NotModified,
    /// 400 Bad Request.
    BadRequest,
    /// 403 Forbidden: a file that may not be read.
    Forbidden,
    /// 404 Not Found.
    NotFound,
    /// 405 Method Not Allowed.
    MethodNotAllowed,
    /// 408 Request Timeout.
    RequestTimeout,
    /// 412 Precondition Failed.
    PreconditionFailed,
    /// 413 Content Too Large.
    ContentTooLarge,
    /// 414 URI Too Long.
    UriTooLong,
    /// 416 Range Not Satisfiable.
    RangeNotSatisfiable,
    /// 417 Expectation Failed.
    ExpectationFailed,
    /// 431 Request Header Fields Too Large (RFC 6585 section 5).
    FieldsTooLarge,
    /// 500 Internal Server Error: a file that cannot be read.
    Internal,
    /// 501 Not Implemented: an unknown method or transfer coding.
    NotImplemented,
    /// 503 Service Unavailable: every place for transfers is taken.
    Unavailable,
    /// 505 HTTP Version Not Supported.
    VersionNotSupported,
}

impl Status {
    /// All of them, in the order of their codes.
    pub const ALL: [Status; 20] = [
        Status::Continue,
        Status::Ok,
        Status::PartialContent,
        Status::MovedPermanently,
        Status::NotModified,
        Status::BadRequest,
        Status::Forbidden,
        Status::NotFound,
        Status::MethodNotAllowed,
        Status::RequestTimeout,
        Status::PreconditionFailed,
        Status::ContentTooLarge,
        Status::UriTooLong,
        Status::RangeNotSatisfiable,
        Status::ExpectationFailed,
        Status::FieldsTooLarge,
        Status::Internal,
        Status::NotImplemented,
        Status::Unavailable,
        Status::VersionNotSupported,
    ];

    /// The code and the reason phrase, as they stand in the status line.
    pub const fn line(self) -> &'static str {
        match self {
            Status::Continue => "100 Continue",
            Status::Ok => "200 OK",
            Status::PartialContent => "206 Partial Content",
            Status::MovedPermanently => "301 Moved Permanently",
            Status::NotModified => "304 Not Modified",
            Status::BadRequest => "400 Bad Request",
            Status::Forbidden => "403 Forbidden",
            Status::NotFound => "404 Not Found",
            Status::MethodNotAllowed => "405 Method Not Allowed",
            Status::RequestTimeout => "408 Request Timeout",
            Status::PreconditionFailed => "412 Precondition Failed",
            Status::ContentTooLarge => "413 Content Too Large",
            Status::UriTooLong => "414 URI Too Long",
            Status::RangeNotSatisfiable => "416 Range Not Satisfiable",
            Status::ExpectationFailed => "417 Expectation Failed",
            Status::FieldsTooLarge => "431 Request Header Fields Too Large",
            Status::Internal => "500 Internal Server Error",
            Status::NotImplemented => "501 Not Implemented",
            Status::Unavailable => "503 Service Unavailable",
            Status::VersionNotSupported => "505 HTTP Version Not Supported",
        }
    }

    /// The name of its counter.
    pub const fn name(self) -> &'static str {
        match self {
            Status::Continue => "http_100",
            Status::Ok => "http_200",
            Status::PartialContent => "http_206",
            Status::MovedPermanently => "http_301",
            Status::NotModified => "http_304",
            Status::BadRequest => "http_400",
            Status::Forbidden => "http_403",
            Status::NotFound => "http_404",
            Status::MethodNotAllowed => "http_405",
            Status::RequestTimeout => "http_408",
            Status::PreconditionFailed => "http_412",
            Status::ContentTooLarge => "http_413",
            Status::UriTooLong => "http_414",
            Status::RangeNotSatisfiable => "http_416",
            Status::ExpectationFailed => "http_417",
            Status::FieldsTooLarge => "http_431",
            Status::Internal => "http_500",
            Status::NotImplemented => "http_501",
            Status::Unavailable => "http_503",
            Status::VersionNotSupported => "http_505",
        }
    }

    /// Whether it refuses the request.
    pub fn is_error(self) -> bool {
        self.line().as_bytes()[0] >= b'4'
    }
}
