#!/bin/sh
# Fetches the chart library of the page from npm, in the version given, and puts
# what the page loads of it into vendor/, with its licence. The result is committed:
# neither a build nor a user needs npm.
set -eu

version=$1
cd "$(dirname "$0")/vendor"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# npm checks what it downloads against the registry's digest.
npm pack --silent --pack-destination "$work" "uplot@$version" >/dev/null
tar -xzf "$work/uplot-$version.tgz" -C "$work"
cp "$work/package/dist/uPlot.iife.min.js" uPlot.js
cp "$work/package/dist/uPlot.min.css" uPlot.css
cp "$work/package/LICENSE" LICENSE.uPlot
size=$(wc -c <uPlot.js)
if [ "$size" -gt 100000 ]; then
    echo "ui-vendor: uPlot.js has $size bytes: too large for the page" >&2
    exit 1
fi
echo "ui-vendor: uPlot $version, $size bytes"
