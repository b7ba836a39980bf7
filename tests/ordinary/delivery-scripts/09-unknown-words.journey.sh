#!/usr/bin/env bash
# dogfood: expect: {exit: 2, stderr: {contains: no such command}}
echo "run 09" >>"$LOG"
exec "$DELIVER" dance
