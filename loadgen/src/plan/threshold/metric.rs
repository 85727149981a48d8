//! The words of a threshold.

/// A metric of the result, by the name it has there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricName {
    /// From the intended start to the complete response.
    ResponseTime,
    /// From the actual start.
    ServiceTime,
    /// Until the TCP connection is there.
    TcpConnect,
    /// The TLS handshake.
    Handshake,
    /// From the client's last handshake flight to the server's acceptance.
    Acceptance,
    /// From the handshake's end to the first byte.
    FirstByte,
    /// From the first byte to the last.
    Transfer,
    /// Bytes sent.
    BytesSent,
    /// Bytes received.
    BytesReceived,
    /// Actual minus intended start.
    ScheduleLag,
    /// From the loss of a connection to the device's return.
    ReturnTime,
}

impl MetricName {
    /// All of them, with their names.
    pub const ALL: [(&'static str, MetricName); 11] = [
        ("response_time", MetricName::ResponseTime),
        ("service_time", MetricName::ServiceTime),
        ("tcp_connect", MetricName::TcpConnect),
        ("handshake", MetricName::Handshake),
        ("acceptance", MetricName::Acceptance),
        ("first_byte", MetricName::FirstByte),
        ("transfer", MetricName::Transfer),
        ("bytes_sent", MetricName::BytesSent),
        ("bytes_received", MetricName::BytesReceived),
        ("schedule_lag", MetricName::ScheduleLag),
        ("return_time", MetricName::ReturnTime),
    ];

    /// The name in the result.
    pub fn name(self) -> &'static str {
        let found = MetricName::ALL.iter().find(|(_, metric)| *metric == self);
        found.map_or("", |(name, _)| name)
    }

    /// Whether it is a number of bytes, not a time.
    pub fn is_bytes(self) -> bool {
        matches!(self, MetricName::BytesSent | MetricName::BytesReceived)
    }
}

/// One number that stands for many.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Statistic {
    /// A quantile, 0 to 1; 0 is the least, 1 the greatest.
    Quantile(f64),
    /// The mean.
    Mean,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// Arrivals that the plan asked for.
    Intended,
    /// Attempts begun.
    Started,
    /// Attempts that the server accepted.
    Accepted,
    /// Attempts that went well.
    Ok,
    /// Attempts that failed.
    Failed,
    /// Arrivals that could not be released.
    Overflow,
    /// Failures, which class, code and moment select from.
    Errors,
    /// Devices that came back.
    Returned,
    /// Their attempts after the first.
    Retries,
    /// Devices that gave up.
    GaveUp,
    /// Answers that spoke of another device than the one that asked, or of none, where the plan looks at that.
    IdentityMismatches,
}

impl Counted {
    /// All of them, with their names.
    pub const ALL: [(&'static str, Counted); 11] = [
        ("intended", Counted::Intended),
        ("started", Counted::Started),
        ("accepted", Counted::Accepted),
        ("ok", Counted::Ok),
        ("failed", Counted::Failed),
        ("overflow", Counted::Overflow),
        ("errors", Counted::Errors),
        ("returned", Counted::Returned),
        ("retries", Counted::Retries),
        ("gave_up", Counted::GaveUp),
        ("identity_mismatches", Counted::IdentityMismatches),
    ];
}
