def FormatCode(text, **kwargs):
    return text, False
