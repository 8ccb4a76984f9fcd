# shellcheck shell=bash
# What the tests need on the machine, installed once; quick when it is there.

VENV=$ROOT/.venv
POLICY=/usr/sbin/policy-rc.d

install() {
    # One at a time, whoever calls: the lock is the list itself.
    exec 9<"$ROOT/deploy/local/requirements.txt"
    flock 9
    install_packages
    install_python
    install_axe
    install_oidc_provider
    install_clients
    exec 9<&-
}

install_packages() {
    local missing=()
    mapfile -t missing < <(postgres_missing; rabbitmq_missing; redis_missing; pgbouncer_missing; locales_missing; python_missing; chromium_missing; npm_missing; curl_missing; prometheus_missing)
    ((${#missing[@]})) || return 0
    if ((EUID != 0)) || ! command -v apt-get >/dev/null; then
        die "please install: ${missing[*]} (on Debian: apt-get install ${missing[*]}; as root this script does it)"
    fi
    say "installing ${missing[*]}"
    without_starting_services apt_install "${missing[@]}"
}

# The browser that looks at Flower, and what drives it.
chromium_missing() {
    command -v chromium >/dev/null || echo chromium
    command -v chromedriver >/dev/null || echo chromium-driver
}

# What gets the checker of the pages, and what runs the provider of sign-in.
npm_missing() { command -v npm >/dev/null || echo npm; }

# What the README of the sandbox is typed with.
curl_missing() { command -v curl >/dev/null || echo curl; }

# What reads the figures of the roles.
prometheus_missing() { command -v prometheus >/dev/null || echo prometheus; }

# The pooler that billing must not be mixed up by.
pgbouncer_missing() { [[ -n $(PATH=$PATH:/usr/sbin command -v pgbouncer) ]] || echo pgbouncer; }

# For a PostgreSQL that speaks another language than ours.
locales_missing() { [[ -e /usr/share/i18n/locales/ru_RU ]] || echo locales; }

python_missing() { python3 -c 'import venv, ensurepip' 2>/dev/null || echo python3-venv; }

apt_install() {
    # Debian would also make a database cluster on the standard port.
    mkdir -p /etc/postgresql-common
    [[ -e /etc/postgresql-common/createcluster.conf ]] ||
        echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
    apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2
}

# A package with a daemon starts it; policy-rc.d is Debian's way to say no (invoke-rc.d asks it). One that was there
# comes back.
without_starting_services() {
    [[ ! -e $POLICY ]] || mv "$POLICY" "$POLICY.saved"
    trap restore_policy EXIT
    printf '#!/bin/sh\nexit 101\n' >"$POLICY"
    chmod 755 "$POLICY"
    "$@"
    restore_policy
    trap - EXIT
}

restore_policy() {
    rm -f "$POLICY"
    [[ ! -e $POLICY.saved ]] || mv "$POLICY.saved" "$POLICY"
}

install_python() {
    local wanted
    wanted=$(cat "$ROOT"/deploy/local/requirements*.txt | sha256sum)
    [[ $(cat "$VENV/installed" 2>/dev/null) != "$wanted" ]] || return 0
    say "making $VENV"
    rm -rf "$VENV"
    python_environment "$VENV" requirements.txt
    python_environment "$VENV/celery-5.5" requirements-5.5.txt
    echo "$wanted" >"$VENV/installed"
}

# Finds what keeps somebody from reading a page (https://github.com/dequelabs/axe-core).
install_axe() {
    local wanted=4.14.1
    [[ $(cat "$VENV/axe/installed" 2>/dev/null) != "$wanted" ]] || return 0
    npm install --silent --no-audit --no-fund --ignore-scripts --no-save --prefix "$VENV/axe" "axe-core@$wanted" >&2
    echo "$wanted" >"$VENV/axe/installed"
}

# Where the staff sign in with a company's account, in the tests (https://github.com/panva/node-oidc-provider).
install_oidc_provider() {
    local wanted=9.13.3
    [[ $(cat "$VENV/oidc-provider/installed" 2>/dev/null) != "$wanted" ]] || return 0
    npm install --silent --no-audit --no-fund --ignore-scripts --no-save --prefix "$VENV/oidc-provider" "oidc-provider@$wanted" >&2
    echo "$wanted" >"$VENV/oidc-provider/installed"
}

# Public clients of CloudPayments that the sandbox is tried with, beside the one in .venv/ itself.
install_clients() {
    local wanted=6.0.1
    if [[ $(cat "$VENV/cloudpayments-npm/installed" 2>/dev/null) != "$wanted" ]]; then
        npm install --silent --no-audit --no-fund --ignore-scripts --no-save --prefix "$VENV/cloudpayments-npm" \
            "cloudpayments@$wanted" >&2
        echo "$wanted" >"$VENV/cloudpayments-npm/installed"
    fi
    wanted=$(sha256sum <"$ROOT/deploy/local/clients/aiocloudpayments.txt")
    if [[ $(cat "$VENV/aiocloudpayments/installed" 2>/dev/null) != "$wanted" ]]; then
        rm -rf "$VENV/aiocloudpayments"
        python_environment "$VENV/aiocloudpayments" clients/aiocloudpayments.txt
        echo "$wanted" >"$VENV/aiocloudpayments/installed"
    fi
}

python_environment() {
    python3 -m venv "$1"
    "$1/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$ROOT/deploy/local/$2" >&2
}
