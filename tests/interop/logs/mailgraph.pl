# Runs mailgraph's own parser over a log and prints how often it saw what: LOG on the command line.
use strict;
use warnings;
local $/;
open(my $file, '<', '/usr/sbin/mailgraph') or die "mailgraph: $!";
my $source = <$file>;
$source =~ s/^main;\s*$//m or die "mailgraph has no call of main";
$source =~ s/^__END__.*//ms;   # its manual
my ($log) = @ARGV;
my $run = <<'RUN';
my %count;
{ no warnings; *event = sub { $count{$_[1]}++ }; }
my $parser = Parse::Syslog->new($log, arrayref => 1, type => 'syslog');
while (my $line = $parser->next) { process_line($line); }
print "$_ $count{$_}\n" for sort keys %count;
RUN
$/ = "\n";
eval "$source\n$run";
die $@ if $@;
