#!/usr/bin/perl
# SPDX-FileCopyrightText: 2026 mailgate contributors
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Prints, for each path of a message on standard input, one line of JSON: [[reader, file in base64], …], with the files
# that MIME-tools extracts and that contain one of the marks (arguments, in hexadecimal).
use strict;
use warnings;
use MIME::Base64 qw(encode_base64);
use MIME::Parser;

$| = 1;
my @marks = map { pack('H*', $_) } @ARGV;

while (my $path = <STDIN>) {
    chomp $path;
    my $parser = MIME::Parser->new;
    $parser->output_to_core(1);
    $parser->tmp_to_core(1);
    $parser->extract_nested_messages(1);
    $parser->extract_uuencode(1);
    my $mail = eval { local $SIG{__WARN__} = sub { }; $parser->parse_open($path) };
    my @found;
    for my $part ($mail ? $mail->parts_DFS : ()) {
        my $body = $part->bodyhandle or next;
        my $text = $body->as_string;
        next unless grep { index($text, $_) >= 0 } @marks;
        push @found, '["MIME-tools","' . encode_base64($text, '') . '"]';
    }
    print '[', join(',', @found), "]\n";
}
