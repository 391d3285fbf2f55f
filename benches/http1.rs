//! Prints what layers add to an HTTP/1 request: `cargo bench -p buttress-benches --bench http1`.

use buttress_benches::{http1_cases, print_http1, run_requested_http1_case};

fn main() {
    let cases = http1_cases();
    if !run_requested_http1_case(&cases) {
        print_http1(&cases);
    }
}
