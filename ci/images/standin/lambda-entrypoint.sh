#!/bin/sh
# Runs a handler: under the emulator, unless Lambda's own runtime API is there.
if [ $# -ne 1 ]; then
    echo "expected one argument, the handler: module.function" >&2
    exit 142
fi
export _HANDLER="$1"
if [ -z "$AWS_LAMBDA_RUNTIME_API" ]; then
    exec /usr/local/bin/aws-lambda-rie /var/runtime/bootstrap
fi
exec /var/runtime/bootstrap
