/// Builds the expected value of a snapshot: the named fields are set, all others keep their
/// default.
///
/// A snapshot is `#[non_exhaustive]`, so a struct literal does not compile outside its crate. The
/// macro starts with [`Default::default`] and assigns the fields instead. With `..base`
/// the other fields are those of `base`. Any struct with public fields will do.
///
/// ```
/// use buttress_testkit::counts;
///
/// #[derive(Debug, Default, PartialEq)]
/// #[non_exhaustive]
/// struct Snapshot { calls: u64, rejected: u64, limit: Option<u32> }
///
/// let snapshot = counts!(Snapshot { calls: 2, limit: Some(8) });
/// assert_eq!(snapshot, Snapshot { calls: 2, rejected: 0, limit: Some(8) });
/// let later = counts!(Snapshot { rejected: 1, ..snapshot });
/// assert_eq!(later, Snapshot { calls: 2, rejected: 1, limit: Some(8) });
/// ```
#[macro_export]
macro_rules! counts {
    ($snapshot:path {}) => {
        <$snapshot as ::core::default::Default>::default()
    };
    ($snapshot:path { $($field:ident: $value:expr),+ $(,)? }) => {
        $crate::counts!($snapshot { $($field: $value,)+ ..::core::default::Default::default() })
    };
    ($snapshot:path { $($field:ident: $value:expr,)+ ..$base:expr }) => {{
        let mut snapshot: $snapshot = $base;
        $(snapshot.$field = $value;)+
        snapshot
    }};
}
