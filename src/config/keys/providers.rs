//! The rows of `remotes.provider`: of one provider, or of each in a list.

use super::super::http_provider::ListFormat;
use super::super::on_bad_line::OnBadLine;
use super::super::providers::{Family, ProviderKind};
use super::super::slot::{Choice, Slot};
use super::key::{Key, hours, ms, of_provider, secs};
use Slot::{Count, Duration as Time, Entries, File, Flag, Port};

const FAMILIES: &[&str] = &["any", "ipv4", "ipv6"];

pub(super) const PROVIDERS: &[Key] = &[
    of_provider(
        "remotes.provider.type",
        Slot::Choice(Choice {
            names: &["file", "inline", "dns", "srv", "http"],
            name: |d| d.kind.name(),
            choose: |d, name| {
                let named = ProviderKind::ALL.into_iter().find(|kind| kind.name() == name);
                if let Some(kind) = named {
                    d.kind = kind;
                }
            },
        }),
        "where candidates come from; left out: the one of the sections below that is given says it",
    ),
    of_provider(
        "remotes.provider.file.path",
        File(|d| &mut d.file.path),
        "the candidate list",
    ),
    of_provider(
        "remotes.provider.file.watch",
        Flag(|d| &mut d.file.watch),
        "whether a changed list is read again",
    ),
    of_provider(
        "remotes.provider.inline.entries",
        Entries(|d| &mut d.entries),
        "the candidates themselves, as lines of a list",
    ),
    of_provider(
        "remotes.provider.dns.name",
        Slot::Text(|d| &mut d.dns.name),
        "the name whose addresses are candidates",
    ),
    of_provider(
        "remotes.provider.dns.port",
        Port((0, u16::MAX), |d| &mut d.dns.port),
        "their port; 0 = default_remote_port",
    ),
    of_provider(
        "remotes.provider.dns.family",
        Slot::Choice(Choice {
            names: FAMILIES,
            name: |d| d.dns.family.name(),
            choose: |d, name| d.dns.family = Family::of(name),
        }),
        "which of them count",
    ),
    of_provider(
        "remotes.provider.srv.name",
        Slot::Text(|d| &mut d.srv.name),
        "the name whose SRV records name candidates: their priority is the tier, their weight the weight",
    ),
    of_provider(
        "remotes.provider.srv.family",
        Slot::Choice(Choice {
            names: FAMILIES,
            name: |d| d.srv.family.name(),
            choose: |d, name| d.srv.family = Family::of(name),
        }),
        "which of the addresses that they lead to count",
    ),
    of_provider(
        "remotes.provider.http.url",
        Slot::HttpUrl(|d| &mut d.http.url),
        "where the list stands",
    ),
    of_provider(
        "remotes.provider.http.interval",
        Time((secs(1), hours(24 * 7)), |d| &mut d.http.interval),
        "time between two looks, give or take a tenth; what has not changed is not sent again",
    ),
    of_provider(
        "remotes.provider.http.timeout",
        Time((ms(100), secs(600)), |d| &mut d.http.timeout),
        "a look that takes longer has failed: from the name of the server to the last byte",
    ),
    of_provider(
        "remotes.provider.http.headers",
        Slot::Headers(|d| &mut d.http.headers),
        "headers of the request; no other server than the URL's ever gets them, and they are shown nowhere",
    ),
    of_provider(
        "remotes.provider.http.format",
        Slot::Choice(Choice {
            names: &["list", "json"],
            name: |d| d.http.format.name(),
            choose: |d, name| d.http.format = ListFormat::of(name),
        }),
        "what stands there: lines as in a list file, or JSON",
    ),
    of_provider(
        "remotes.provider.http.pointer",
        Slot::Text(|d| &mut d.http.pointer),
        "where in the JSON the entries are (RFC 6901), such as /data/ips; empty = it is nothing but entries",
    ),
    of_provider(
        "remotes.provider.http.tls.sni",
        Slot::Text(|d| &mut d.http.tls.sni),
        "name that the server is asked for (SNI), and that its certificate must have; empty = the URL's host",
    ),
    of_provider(
        "remotes.provider.http.tls.verify",
        Flag(|d| &mut d.http.tls.verify),
        "whether the server must show a good certificate; if not, anybody in between can say who the candidates are",
    ),
    of_provider(
        "remotes.provider.http.tls.ca",
        Slot::FileOrNone(|d| &mut d.http.tls.ca),
        "PEM file of the authorities that vouch for the server; empty = those of the system",
    ),
    of_provider(
        "remotes.provider.max_connections",
        Count((0, 10_000_000), |d| &mut d.max_connections),
        "connections that each of its backends gets at once, unless its entry says another number; 0 = as many as come",
    ),
    of_provider(
        "remotes.provider.on_bad_line",
        Slot::Choice(Choice {
            names: &["error", "skip"],
            name: |d| d.on_bad_line.name(),
            choose: |d, name| {
                let named = OnBadLine::ALL.into_iter().find(|choice| choice.name() == name);
                if let Some(choice) = named {
                    d.on_bad_line = choice;
                }
            },
        }),
        "whether a list with bad lines is refused, or those lines are skipped; a list without any good line is refused",
    ),
];
