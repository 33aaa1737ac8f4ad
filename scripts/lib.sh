# shellcheck shell=bash
# What the scripts share. Sourced by bash from the top of the project, with set -euo pipefail.

say() {
    printf '== %s\n' "$*" >&2
}

die() {
    printf 'error: %s\n' "$1" >&2
    shift
    for hint in "$@"; do
        printf '  %s\n' "$hint" >&2
    done
    exit 1
}

need_root() {
    [ "$(id -u)" = 0 ] || die "$(basename "$0") needs root" "it makes namespaces, mounts, control groups and packet rules: run it with sudo"
}

# Runs a command that has much to say. On a terminal its last line is shown; all that it said is shown if it fails.
quietly() {
    local log line status=0
    log=$(mktemp)
    if [ -t 2 ]; then
        "$@" </dev/null 2>&1 | tee "$log" | while IFS= read -r line; do
            printf '\r\033[K   %.70s' "$line" >&2
        done || status=$?
        printf '\r\033[K' >&2
    else
        "$@" </dev/null >"$log" 2>&1 || status=$?
    fi
    [ "$status" = 0 ] || cat "$log" >&2
    rm -f "$log"
    return "$status"
}

# Installs what is missing of these Debian packages.
need_packages() {
    local missing=() package install=(apt-get install -y -q -o Dpkg::Use-Pty=0 --no-install-recommends)
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || die "these packages are missing and there is no apt-get: ${missing[*]}"
    say "installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    # The lists of packages may be missing, or so old that they name files which are gone.
    "${install[@]}" --simulate "${missing[@]}" >/dev/null 2>&1 || quietly apt-get update -q || true
    quietly "${install[@]}" "${missing[@]}" || {
        say "trying again with new package lists"
        quietly apt-get update -q && quietly "${install[@]}" "${missing[@]}"
    } || die "cannot install ${missing[*]}" "mend what apt-get says, then run this again"
}

# Installs PostgreSQL's programs for the tests, which run servers of their own. The package would begin one for the whole
# host as well, unless it is told not to before.
need_postgresql() {
    local settings=/etc/postgresql-common/createcluster.conf ours=no
    ! compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || return 0
    need_packages postgresql-common
    if ! grep -qs '^create_main_cluster *= *false' "$settings"; then
        ours=yes
        cp -a "$settings" "$settings.before-hostel-test" 2>/dev/null || ours=new
        printf 'create_main_cluster = false\n' >>"$settings"
    fi
    need_packages postgresql
    case $ours in
        yes) mv "$settings.before-hostel-test" "$settings" ;;
        new) rm -f "$settings" ;;
    esac
}

# Builds tests; where the programs are, as cargo names them: "Executable tests/limits.rs (target/debug/deps/limits-0123)".
test_programs() { # WHICH, in cargo's words
    local said
    said=$(cargo test --locked --no-run "$@" 2>&1) || die "cannot build the tests" "$said"
    sed -n 's/^ *Executable .*(\(.*\))$/\1/p' <<<"$said"
}

# Puts a Rust toolchain that is new enough for this workspace first in PATH; installs one if there is none.
need_cargo() {
    local wanted installer
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    ! use_cargo "$wanted" || return 0
    if command -v rustup >/dev/null; then
        die "Hostel needs Rust $wanted or newer, and cargo is $(cargo --version 2>&1 | head -n 1)" \
            "bring it up to date: rustup update stable"
    fi
    say "installing Rust by rustup into ${CARGO_HOME:-$HOME/.cargo} and ${RUSTUP_HOME:-$HOME/.rustup}"
    need_packages curl ca-certificates
    installer=$(mktemp)
    if ! curl --proto '=https' --tlsv1.2 -sSf -o "$installer" https://sh.rustup.rs ||
        ! RUSTUP_INIT_SKIP_PATH_CHECK=yes quietly sh "$installer" -y --profile minimal --no-modify-path; then
        rm -f "$installer"
        die "cannot install Rust, which Hostel needs in version $wanted or newer (Debian 12's own package is too old)" \
            "install it (https://rustup.rs), then run this again" \
            "if another user has it, name it: sudo env PATH=\"\$PATH\" $0"
    fi
    rm -f "$installer"
    use_cargo "$wanted" || die "rustup installed a Rust that is older than $wanted" "see: rustup toolchain list"
}

# The cargo in PATH, or the user's own: under sudo that is out of sight, and Debian's may stand before it.
use_cargo() {
    local wanted=$1 have path
    for path in "$PATH" "${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"; do
        have=$(env PATH="$path" cargo --version 2>/dev/null | cut -d' ' -f2) || continue
        if [ "$(printf '%s\n%s\n' "$wanted" "${have%%-*}" | sort -V | head -n 1)" = "$wanted" ]; then
            PATH=$path
            return 0
        fi
    done
    return 1
}

# Builds the programs as they are installed, and tells in $release where they lie. They are static: a fifth of
# what a short command takes would be the dynamic linker's work.
build_release() {
    local host
    host=$(rustc -vV | sed -n 's/^host: //p')
    # With a target named, the flags are for the programs alone and not for what runs while they are built.
    RUSTFLAGS="${RUSTFLAGS-} -C target-feature=+crt-static" \
        cargo build --release --locked --target "$host" -p hostel -p hostel-monitor
    # shellcheck disable=SC2034 # for whoever called
    release=$PWD/target/$host/release
}

# Parts of the toolchain that a small installation lacks.
need_rust_components() {
    local component
    for component in "$@"; do
        cargo "${component/rustfmt/fmt}" --version >/dev/null 2>&1 || rustup component add "$component" ||
            die "this Rust toolchain has no $component" "add it: rustup component add $component"
    done
}

# Where the tests keep the templates they share (tests/house/mod.rs): made anew when a recipe changes.
template_store() {
    local key
    key=$(LC_ALL=C; cat images/*.toml | sha256sum | cut -c 1-12)
    printf '/var/cache/hostel-test/templates-%s\n' "$key"
}

# Builds a template in that store if it is not there, with a Hostel of its own: PROGRAM STORE NAME WORKDIR [RECIPE]
ensure_template() {
    local program=$1 store=$2 name=$3 own=$4/build recipe=${5-$3}
    mkdir -p "$store"
    (
        flock 9
        if ! compgen -G "$store/$name/*/template.toml" >/dev/null; then
            say "building template $name"
            mkdir -p "$own/etc" "$own/data" "$own/run"
            printf '[paths]\nconfig = "%s/etc"\ndata = "%s/data"\nrun = "%s/run"\ntemplates = "%s"\nimages = "%s"\n' \
                "$own" "$own" "$own" "$store" "$PWD/images" >"$own/hostel.toml"
            "$program" --config "$own/hostel.toml" template build "$recipe"
        fi
    ) 9>"$store/.test-$name.lock"
}
