#!/bin/sh
# Makes everything here anew. The authority's key is thrown away at the end.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
forever=21250101000000Z

key() { openssl ecparam -name prime256v1 -genkey -noout -out "$work/$1.key"; }

cat >"$work/ca.conf" <<END
[ca]
default_ca = authority
[authority]
database = $work/index
new_certs_dir = $work
rand_serial = yes
default_md = sha256
policy = anything
unique_subject = no
[anything]
commonName = supplied
END
: >"$work/index"

# sign NAME COMMON_NAME ALTERNATIVE_NAMES FROM UNTIL: NAME.pem, a certificate with its key.
sign() {
    key "$1"
    openssl req -new -key "$work/$1.key" -subj "/CN=$2" -out "$work/$1.csr"
    cat >"$work/$1.ext" <<END
basicConstraints = CA:false
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid:always
subjectAltName = $3
END
    openssl ca -batch -notext -config "$work/ca.conf" -cert ca.pem -keyfile "$work/ca.key" -in "$work/$1.csr" \
        -extfile "$work/$1.ext" -startdate "$4" -enddate "$5" -out "$work/$1.crt" 2>/dev/null
    cat "$work/$1.crt" "$work/$1.key" >"$1.pem"
}

key ca
openssl req -new -key "$work/ca.key" -subj '/CN=ai-client test authority' -out "$work/ca.csr"
printf 'basicConstraints = critical, CA:true\nkeyUsage = critical, keyCertSign, cRLSign\n' >"$work/ca.ext"
openssl ca -selfsign -batch -notext -config "$work/ca.conf" -keyfile "$work/ca.key" -in "$work/ca.csr" \
    -extfile "$work/ca.ext" -startdate 20200101000000Z -enddate $forever -out ca.pem 2>/dev/null
here='DNS:localhost, IP:127.0.0.1'
sign server localhost "$here" 20200101000000Z $forever
sign renewed renewed "$here" 20200101000000Z $forever
sign expired localhost "$here" 20200101000000Z 20210101000000Z
sign elsewhere elsewhere.example 'DNS:elsewhere.example' 20200101000000Z $forever

key selfsigned
openssl req -x509 -new -key "$work/selfsigned.key" -subj /CN=localhost -days 36500 \
    -addext "subjectAltName = $here" -out "$work/selfsigned.crt"
cat "$work/selfsigned.crt" "$work/selfsigned.key" >selfsigned.pem
openssl ec -in "$work/selfsigned.key" -aes128 -passout pass:secret -out locked-key.pem 2>/dev/null
chmod 0644 ./*.pem
