package migrations

// topic is something to prepare for. Ten topics of ten subjects, and twenty forms of article, make 2,000 titles.
type topic struct {
	title, tag string
	subjects   []string
	points     []string
}

var topics = []topic{
	{"Algorithms", "algorithms", []string{"binary search", "two pointers", "dynamic programming", "graph traversal",
		"sliding windows", "heaps", "backtracking", "greedy choices", "union find", "topological order"}, []string{
		"State the invariant of the loop aloud before writing it; most off-by-one errors disappear there.",
		"Begin with the brute force and its cost, then say which work is repeated and how to keep it.",
		"Test by hand with an empty input, one element and two equal ones before saying that it is done.",
		"A recursion with overlapping calls wants a table, and the table's order is the order of dependence.",
		"Name the complexity in time and in memory; an interviewer who has to ask for it takes a note."}},
	{"System design", "system-design", []string{"rate limiting", "cache invalidation", "sharding", "message queues",
		"consistent hashing", "load balancing", "idempotency", "leader election", "back-pressure", "event sourcing"}, []string{
		"Ask for the numbers first: requests a second, size of a record, how old an answer may be.",
		"Draw the path of one write from the client to the disk, and mark each place where it can be lost.",
		"Say what happens when each box of the drawing is gone for a minute.",
		"Choose the key by which the data is split, then look for the query that now touches every part.",
		"A retry without an idempotency key is a second order, a second payment or a second letter."}},
	{"SQL", "sql", []string{"window functions", "query plans", "indexes", "transactions", "isolation levels",
		"common table expressions", "joins", "null handling", "aggregation", "schema migrations"}, []string{
		"Read a plan from the inside out, and compare the estimated rows with the actual ones.",
		"An index helps when it leaves few rows to look at; for half of the table a scan is cheaper.",
		"Keep transactions short: a lock is held until the end, however early it was taken.",
		"NULL is not equal to NULL, and NOT IN with one NULL in the list returns nothing at all.",
		"Write the expected result for five rows on paper before writing the statement."}},
	{"Go", "go", []string{"goroutines", "channels", "contexts", "interfaces", "error wrapping", "slices", "maps",
		"generics", "benchmarks", "the race detector"}, []string{
		"Whoever starts a goroutine knows how it ends; otherwise it does not.",
		"Pass the context as the first argument, and stop when it says so.",
		"Wrap an error with what was being done, and leave the decision to the caller.",
		"A slice shares its array until it grows, which is where surprising writes come from.",
		"Accept the smallest interface that does, and declare it where it is used."}},
	{"Networking", "networking", []string{"TCP handshakes", "DNS resolution", "TLS certificates", "HTTP caching",
		"congestion control", "subnetting", "routing tables", "proxies", "websockets", "packet captures"}, []string{
		"Follow one request from the browser to the server and name every lookup on the way.",
		"Latency is paid for each round trip; count them before counting bytes.",
		"A capture settles in a minute what an hour of guessing does not.",
		"A short lifetime of a record makes a move quick, and the lookups more frequent.",
		"Know which side closes the connection, and where it then waits."}},
	{"Statistics", "statistics", []string{"Bayes' theorem", "confidence intervals", "hypothesis tests", "regression",
		"sampling", "variance", "distributions", "correlation", "survivorship bias", "experiments"}, []string{
		"Write down the population and how the sample was drawn before computing anything.",
		"Look at the base rate first: a good test for a rare illness is wrong more often than right.",
		"A small p-value says that the data are surprising, not that the effect is large.",
		"Plot the residuals; a pattern in them is the model asking for a term.",
		"Two causes in one picture make a correlation that neither of them explains."}},
	{"English exam", "english", []string{"essay structure", "listening notes", "phrasal verbs", "reading for gist",
		"speaking fluency", "linking words", "tenses in narrative", "paraphrasing", "vocabulary in context", "formal letters"}, []string{
		"Plan for five minutes; examiners reward a clear line of argument over rare words.",
		"Read the questions before the text, and underline the words that cannot be paraphrased.",
		"Record two minutes of speech every day, and listen for the pauses rather than the mistakes.",
		"Learn a word together with the two words that usually stand next to it.",
		"Leave time at the end for the verbs: a wrong tense costs more than a plain adjective."}},
	{"Mathematics", "mathematics", []string{"integration by parts", "limits", "matrices", "proof by induction",
		"combinatorics", "trigonometric identities", "sequences", "vectors", "complex numbers", "inequalities"}, []string{
		"Try the statement for one, two and three before proving it for every number.",
		"Draw it; half of the marks are often in seeing which two lengths are equal.",
		"Write the units and the signs at every step, and the last line checks itself.",
		"When a substitution makes the expression longer, it was the other one.",
		"Work a past paper against the clock once a week, and keep a list of what was slow."}},
	{"Behavioural interviews", "behavioural", []string{"conflict stories", "failure stories", "leadership questions",
		"salary talks", "questions for the interviewer", "career changes", "feedback", "priorities", "teamwork", "deadlines"}, []string{
		"Tell the situation in two sentences; what you did deserves the rest.",
		"Say what you would do differently now: it is the part that people remember.",
		"Bring three stories that you know well, and bend them to the question.",
		"Numbers make a story credible, even small ones.",
		"A pause before the answer sounds like thinking, because it is."}},
	{"Operating systems", "operating-systems", []string{"virtual memory", "system calls", "file systems", "scheduling",
		"deadlocks", "signals", "page faults", "pipes", "memory barriers", "processes and threads"}, []string{
		"Trace the system calls of a small program once; it explains a chapter.",
		"Take the locks in one order everywhere, and the circle cannot close.",
		"What was written is in the cache, and on the disk only once it has been asked for.",
		"A process that waits for the disk is not using the processor, however busy the machine looks.",
		"The page table is a map with permissions; a fault is the processor asking what you meant."}},
}

// form is a way of writing about a subject.
type form struct{ title, tag, opening string }

var forms = []form{
	{"A practical guide to %s", "guide", "This guide covers what you need to know about %s for a first interview, and no more."},
	{"Common mistakes with %s", "mistakes", "We read a hundred answers about %s. The same mistakes return in most of them."},
	{"What interviewers ask about %s", "interview", "Five interviewers told us what they want to hear about %s, and what they are tired of."},
	{"How to practise %s in one week", "study-plan", "Seven evenings are enough to become sound in %s, if each has one aim."},
	{"Ten exercises on %s", "exercises", "These exercises on %s go from easy to hard; stop at the first that takes more than half an hour."},
	{"An introduction to %s", "beginners", "You have heard of %s and have nodded. This is the page to read before nodding again."},
	{"Cheat sheet: %s", "cheat-sheet", "One page on %s to read on the train, the morning before."},
	{"Beyond the basics of %s", "advanced", "When the first question about %s went well, the second is harder. Here it is."},
	{"A worked example of %s", "example", "One problem from beginning to end, to show %s at work."},
	{"Revising %s the night before", "revision", "It is late and the exam is tomorrow: this is what still pays for %s."},
	{"Explaining %s to a colleague", "explaining", "Whoever can explain %s without jargon has understood it; this is how we would try."},
	{"Myths about %s", "myths", "Much of what is repeated about %s was true once, or never."},
	{"My notes on %s", "notes", "Notes that I took on %s while preparing, tidied up for others."},
	{"Past questions: %s", "past-questions", "Questions on %s that were asked in the last two years, with answers that passed."},
	{"The history behind %s", "background", "Knowing where %s came from makes the rules easier to remember."},
	{"How we mark %s", "marking", "Marks for %s are given in three places. Most people write only for the first."},
	{"A checklist for %s", "checklist", "Go through this list before you say that you are ready for %s."},
	{"Comparing approaches to %s", "comparison", "There are several ways into %s; which is best depends on the time that you have."},
	{"Flash cards for %s", "flash-cards", "Cover the right-hand side and test yourself on %s, twice a day."},
	{"Questions that readers asked about %s", "readers", "Readers wrote to us about %s; these are the answers that we sent."},
}

// remarks lead from the subject to a point of its topic.
var remarks = []string{
	"Most people who struggle with %s know the definition and have never used it.",
	"Give %s twenty minutes a day rather than a whole Sunday.",
	"In our mock interviews, %s is where strong candidates lose the thread.",
	"With %s, a small example says more than a general rule.",
	"The part of %s that looks obvious is the part that is asked.",
	"Before going deeper into %s, check that you can say in one sentence what it is for.",
	"Somebody who reviews your work on %s will look for the same thing first.",
	"There is a shortcut in %s, and it is worth knowing when it fails.",
}

var closings = []string{
	"Take the quiz below while this is fresh, and come back in three days.",
	"If one thing stays, let it be the first example. The rest follows from it.",
	"Write your own summary in five lines; ours will not help you as much.",
	"Next week we continue with harder questions.",
	"Did it help? Tell us what was missing.",
}

var firstNames = []string{"Amina", "Bruno", "Chloe", "Daniel", "Elena", "Farid", "Greta", "Hiro", "Ines", "Jonas",
	"Katya", "Liam", "Mira", "Noah", "Olga", "Pavel", "Qiana", "Rosa", "Samir", "Tara", "Umar", "Vera", "Wei", "Yara", "Zoltan"}

var lastNames = []string{"Okafor", "Silva", "Martin", "Novak", "Petrova", "Haddad", "Lindqvist", "Tanaka", "Costa", "Weber",
	"Ivanova", "Byrne", "Patel", "Kim", "Kowalska", "Dvorak", "Johnson", "Romero", "Mansour", "Singh"}
