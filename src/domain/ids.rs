//! Id types: numbers for configuration rows, TypeIDs for events, deliveries and attempts.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::{Pg, PgValue};
use diesel::serialize::{self, Output, ToSql};
use diesel::sql_types::{BigInt, Uuid as SqlUuid};
use mti::prelude::*;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::error::Rejection;

macro_rules! number_id {
    ($($name:ident),*) => {$(
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, AsExpression, FromSqlRow, Serialize, Deserialize)]
        #[diesel(sql_type = BigInt)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl ToSql<BigInt, Pg> for $name {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
                <i64 as ToSql<BigInt, Pg>>::to_sql(&self.0, out)
            }
        }

        impl FromSql<BigInt, Pg> for $name {
            fn from_sql(bytes: PgValue<'_>) -> deserialize::Result<Self> {
                <i64 as FromSql<BigInt, Pg>>::from_sql(bytes).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = Rejection;
            fn from_str(text: &str) -> Result<Self, Rejection> {
                text.parse().map(Self).map_err(|_| Rejection::new("id", "is not an id: a number is expected"))
            }
        }
    )*};
}

number_id!(TenantId, UserId, MembershipId, ApiKeyId, LineageId, WebhookId, AccessTokenId, AuditEntryId, InvitationId);

/// Returns a bound for UUIDv7s: at or below every id made at this time or later, above every earlier one (RFC 9562
/// §5.7).
pub fn earliest(at: DateTime<Utc>) -> Uuid {
    Uuid::from_u128(u128::from(u64::try_from(at.timestamp_millis()).unwrap_or(0)) << 80)
}

/// Returns the time that a UUIDv7 holds.
pub fn made_at(id: Uuid) -> DateTime<Utc> {
    let millis = i64::try_from(id.as_u128() >> 80).unwrap_or(i64::MAX);
    DateTime::from_timestamp_millis(millis).unwrap_or_default()
}

macro_rules! typed_id {
    ($($name:ident $prefix:literal),*) => {$(
        /// A UUIDv7, printed as a TypeID (typeid spec 0.3: prefix and 26 characters of Crockford base32).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, AsExpression, FromSqlRow)]
        #[diesel(sql_type = SqlUuid)]
        pub struct $name(pub Uuid);

        impl $name {
            /// Prefix of the printed id.
            pub const PREFIX: &'static str = $prefix;

            /// Creates an id that is later than every id made before on this machine's clock.
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl ToSql<SqlUuid, Pg> for $name {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
                <Uuid as ToSql<SqlUuid, Pg>>::to_sql(&self.0, out)
            }
        }

        impl FromSql<SqlUuid, Pg> for $name {
            fn from_sql(bytes: PgValue<'_>) -> deserialize::Result<Self> {
                <Uuid as FromSql<SqlUuid, Pg>>::from_sql(bytes).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}_{}", $prefix, TypeIdSuffix::from(self.0))
            }
        }

        impl FromStr for $name {
            type Err = Rejection;
            fn from_str(text: &str) -> Result<Self, Rejection> {
                let refused = || Rejection::new("id", concat!("is not an id: ", $prefix, "_ and 26 characters are expected"));
                let suffix = text.strip_prefix($prefix).and_then(|rest| rest.strip_prefix('_')).ok_or_else(refused)?;
                TypeIdSuffix::from_str(suffix).map(|suffix| Self(suffix.to_uuid())).map_err(|_| refused())
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

typed_id!(EventId "evt", DeliveryId "dlv", AttemptId "att");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typed_id_can_be_printed_and_parsed_again() {
        let id = EventId::generate();
        let text = id.to_string();
        assert_eq!((text.len(), &text[..4]), (30, "evt_"));
        assert_eq!(text.parse::<EventId>().unwrap(), id);
        assert!(text.parse::<DeliveryId>().is_err());
        assert!("evt_zzz".parse::<EventId>().is_err());
    }

    #[test]
    fn the_typeid_specification_s_example_holds() {
        let uuid = Uuid::parse_str("0188bac7-4afa-78aa-bc3b-bd1eef28d881").unwrap();
        assert_eq!(EventId(uuid).to_string(), "evt_01h2xcejqtf2nbrexx3vqjhp41");
    }
}
