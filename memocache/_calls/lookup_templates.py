"""The source of the compiled look-up, as templates: `memocache._calls.signature` fills them in for one signature.

``{p}`` is the prefix that no parameter has. What else stands in braces is source made of the parameters' names. The
names behind the prefix are those of the look-up's namespace, which `memocache._calls.lazy_binding` provides.
"""

from __future__ import annotations

LOOKUP = """\
{a}def {name}({signature}):
    try:
        {p}entry = {p}entries[{key}]
    except {p}RecursionError:
        raise
    except {p}Exception:
        pass
    else:
        {p}now = {p}monotonic()
        if {p}off() is None and {p}entry.fresh_until > {p}now{guard}:
            {count}{p}entry.hits += 1
            {p}entry.last = {p}now
            if {p}entry.thaw is None:
                return {p}entry.value
            return {p}entry.thaw({p}entry.value)
{miss}"""
MISS_SYNC = """\
    {p}outcome = {p}look({values})
    if {p}type({p}outcome) is not {p}Outcome:
        if {p}type({p}outcome) is {p}PlainMiss:
{compute}            {p}outcome = None
        {p}outcome = {p}run({p}call({values}, {p}outcome))
    if {p}outcome.error is None:
        return {p}outcome.value
    return {p}unwrap({p}outcome)
"""
MISS_ASYNC = """\
    {p}begun = {p}look({values})
    if {p}type({p}begun) is {p}Soon:
        {p}answer = await {p}begun.reply
        {p}value = {p}begun.value({p}answer)
        if {p}value is not {p}UNFIT:
            return {p}value
        {p}begun = {p}begun.path.rest({p}begun, {p}answer)
    elif {p}type({p}begun) is {p}PlainMiss:
        {p}outcome = {p}begun
{compute}        {p}begun = {p}outcome = None
    return {p}unwrap(await {p}run({p}call({values}, {p}begun)))
"""
COMPUTE = """\
try:
    try:
        if {p}outcome.begin():
            try:
                {p}value = {wait}{p}plain({args})
            except {p}Exception as {p}error:
                {p}outcome.failed({p}error)
                raise
            return {p}outcome.done({p}value)
    except {p}BaseException:
        {p}outcome.end()
        raise
except {p}BaseException:
    {p}outcome.end()
    raise
"""
"""A miss that is computed here. It ends twice: its end may be interrupted too."""
SPELLED = """\
{a}def {name}(*{p}args, **{p}kwargs):
    {p}bound = {p}fit({p}args, {p}kwargs)
    if {p}bound is None:
        return {wait}{p}unfit({p}args, {p}kwargs)
    {names} = {p}bound
"""
METHOD_KEY = """\
        {p}tracked = {p}identities[{p}id({me})]
        {p}entry = {p}entries[{key}] if {p}tracked() is {me} else {p}nobody
"""
