package migrations

import (
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
)

// seedStart is the first day of the example data. A fixed one: now() would make every machine's data another.
var seedStart = time.Date(2025, time.January, 6, 8, 0, 0, 0, time.UTC)

// dice is the splitmix64 generator: a few lines whose numbers never change, unlike those of a library.
type dice uint64

func (d *dice) roll(n int) int {
	*d += 0x9e3779b97f4a7c15
	z := uint64(*d)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	z ^= z >> 31
	return int(z % uint64(n))
}

// seedUser returns the name and the handle of a user, 0 being the first.
func seedUser(i int) (name, handle string) {
	n := len(firstNames)
	// Each first name meets each last name once; the shift keeps neighbours from sharing theirs.
	first, last := firstNames[i%n], lastNames[(i/n+7*(i%n))%len(lastNames)]
	return first + " " + last, strings.ToLower(first + "-" + last)
}

func seedUserRows() [][]any {
	rows := make([][]any, seedUsers)
	for i := range rows {
		name, handle := seedUser(i)
		created := seedStart.Add(time.Duration(i) * 97 * time.Minute)
		rows[i] = []any{int64(i + 1), handle, name, handle + "@example.org", created}
	}
	return rows
}

func seedQuizRows() [][]any {
	levels := []struct {
		name      string
		questions int32
	}{{"warm-up", 10}, {"practice", 20}, {"mock exam", 40}}
	var rows [][]any
	for i, t := range topics {
		for j, l := range levels {
			created := seedStart.Add(time.Duration(3*i+j) * time.Hour)
			rows = append(rows, []any{int64(len(rows) + 1), t.title + ": " + l.name, t.tag, l.questions, created})
		}
	}
	return rows
}

// authors is how many of the users write.
const authors = 25

func seedBlogRows() [][]any {
	d := dice(2)
	rows := make([][]any, seedBlogs)
	for i := range rows {
		t := topics[i%len(topics)]
		subject := t.subjects[i/len(topics)%len(t.subjects)]
		form := forms[i/(len(topics)*len(t.subjects))%len(forms)]
		title := fmt.Sprintf(form.title, subject)
		_, author := seedUser(d.roll(authors))
		created := seedStart.Add(time.Duration(i) * 4 * time.Hour)
		updated := created.Add(time.Duration(d.roll(72)) * time.Hour)
		status := seedStatus(i)
		views := 0
		if status != "draft" {
			views = d.roll(50) * d.roll(50) * (1 + d.roll(4))
		}
		rows[i] = []any{int64(i + 1), title, slug(title), article(&d, t, form, subject), status,
			[]string{t.tag, slug(subject), form.tag}, author, int64(views), created, updated}
	}
	return rows
}

// seedStatus makes a tenth of the blogs drafts and a tenth archived, spread over the topics. The first is published.
func seedStatus(i int) string {
	switch (i + i/10) % 10 {
	case 4:
		return "draft"
	case 9:
		return "archived"
	}
	return "published"
}

// slug writes a title as a URL does: lower case, hyphens for everything that is no letter or digit.
func slug(title string) string {
	words := strings.FieldsFunc(strings.ToLower(title), func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9')
	})
	return strings.Join(words, "-")
}

// article writes a few paragraphs.
func article(d *dice, t topic, f form, subject string) string {
	paragraphs := []string{fmt.Sprintf(f.opening, subject)}
	remark, point := d.roll(len(remarks)), d.roll(len(t.points))
	for i := range 3 + d.roll(3) { // at most five in a row, so that none comes twice
		lead := fmt.Sprintf(remarks[(remark+i)%len(remarks)], subject)
		paragraphs = append(paragraphs, lead+" "+t.points[(point+i)%len(t.points)])
	}
	paragraphs = append(paragraphs, closings[d.roll(len(closings))])
	return strings.Join(paragraphs, "\n\n")
}

// seedAttempt is a row of attempts before the rows are put in the order of time.
type seedAttempt struct {
	user, quiz    int64
	score         int64 // hundredths of a per cent
	start, finish time.Time
	unfinished    bool
}

// seedAttemptRows lets every user practise for a while: several days in a row, then a pause.
func seedAttemptRows(quizzes [][]any) [][]any {
	d := dice(3)
	var all []seedAttempt
	for user := range seedUsers {
		skill := 40 + d.roll(45)
		day := 30 + d.roll(60)
		each := seedAttempts / seedUsers
		for n := range each {
			switch d.roll(10) {
			case 0, 1, 2, 3: // the same day
			case 9:
				day += 2 + d.roll(5)
			default:
				day++
			}
			quiz := quizzes[d.roll(len(quizzes))]
			questions := int64(quiz[3].(int32))
			right := min(questions, max(0, questions*int64(skill+n/2+d.roll(31)-15)/100))
			a := seedAttempt{user: int64(user + 1), quiz: quiz[0].(int64), score: right * 10000 / questions}
			a.start = seedStart.AddDate(0, 0, day).Add(time.Duration(d.roll(12*3600)) * time.Second)
			a.finish = a.start.Add(time.Duration(questions*int64(20+d.roll(70))) * time.Second)
			if n == each-1 && user%10 == 9 {
				a.unfinished, a.score = true, 0
			}
			all = append(all, a)
		}
	}
	slices.SortStableFunc(all, func(a, b seedAttempt) int { return a.start.Compare(b.start) })
	rows := make([][]any, len(all))
	for i, a := range all {
		score := pgtype.Numeric{Int: big.NewInt(a.score), Exp: -2, Valid: true}
		var finish any = a.finish
		if a.unfinished {
			finish = nil
		}
		rows[i] = []any{int64(i + 1), a.user, a.quiz, score, a.start, finish}
	}
	return rows
}
