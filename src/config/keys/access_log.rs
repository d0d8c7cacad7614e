//! The rows of `access_log`: a line for each connection.

use super::super::process::LogFormat;
use super::super::slot::{Choice, Slot};
use super::key::{Key, hours, ms, of_service};
use Slot::{Duration as Time, Number};

pub(super) const ACCESS_LOG: &[Key] = &[
    of_service(
        "access_log.output",
        Slot::OutputOrOff(|d| &mut d.access_log.output),
        "where a line for each connection goes when it ends; a file is appended to",
    ),
    of_service(
        "access_log.format",
        Slot::Choice(Choice {
            names: &["text", "json"],
            name: |d| match d.access_log.format {
                LogFormat::Text => "text",
                LogFormat::Json => "json",
            },
            choose: |d, name| {
                d.access_log.format = if name == "json" {
                    LogFormat::Json
                } else {
                    LogFormat::Text
                };
            },
        }),
        "name=value for each field, or one JSON object a line",
    ),
    of_service(
        "access_log.fields",
        Slot::AccessFields(|d| &mut d.access_log.fields),
        "what a line says, in this order; an empty list = everything",
    ),
    of_service(
        "access_log.sample",
        Number((0.0, 1.0), |d| &mut d.access_log.sample),
        "share of connections that have a line",
    ),
    of_service(
        "access_log.min_duration",
        Time((ms(0), hours(720)), |d| &mut d.access_log.min_duration),
        "connections shorter than this have none",
    ),
];
