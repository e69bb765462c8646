"""The page in a real browser: what a person reads there, against a loop over the boxes it was made of."""

import os
import shutil

import numpy as np
import pytest
from playwright.sync_api import sync_playwright

from mmdet_nrpn.visualization import Look
from mmdet_nrpn.visualization.page import entry, write_page

BROWSERS = ('chromium', 'chromium-browser', 'google-chrome', 'chrome')
AREAS = dict(all=(0, np.inf), small=(0, 32**2), medium=(32**2, 96**2), large=(96**2, np.inf))


@pytest.fixture(scope='module')
def browser():
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        assert 'CI' not in os.environ, 'CI has to have a browser'
        pytest.skip('neither Chromium nor Chrome is installed')
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, tmp_path):
    """Write the pictures to a page and open it; errors of its script fail the test."""

    def open_(looks, names, num_shown=500, file_names=None):
        image, errors = np.full((120, 200, 3), 128, np.uint8), []
        file_names = file_names or [f'{i:03}.jpg' for i in range(len(looks))]
        pictures = [entry(n, image, 400, 240, seen, [True] * len(names)) for n, seen in zip(file_names, looks)]
        write_page(pictures, names, tmp_path / 'new' / 'page.html', num_shown)
        page = browser.new_page(viewport=dict(width=1300, height=900), offline=True)
        page.on('pageerror', lambda error: errors.append(error))
        page.on('request', lambda request: request.url.startswith(('file:', 'data:')) or errors.append(request.url))
        page.goto((tmp_path / 'new' / 'page.html').as_uri())
        pages.append((page, errors))
        return page

    pages = []
    yield open_
    for page, errors in pages:
        assert not errors
        page.close()


def random_boxes(rng, num):
    corners, sides = (
        rng.uniform(0, 250, (num, 2)),
        rng.choice([10, 50, 120], (num, 1)) * rng.uniform(0.9, 1.1, (num, 2)),
    )
    return np.hstack([corners, corners + sides]).round(1).astype(np.float32)


def random_look(rng, objects):
    scores = rng.random((2, 12)).round(3).astype(np.float32)
    return Look(
        objects=objects,
        found=rng.random(len(objects)) < 0.6,
        ignored=random_boxes(rng, 1),
        false_positives=random_boxes(rng, 12),
        false_positive_scores=-np.sort(-scores[0]),
        regions=random_boxes(rng, 12),
        region_scores=-np.sort(-scores[1]),
        foreseen=rng.random(12) < 0.5,
    )


def choose(page, size, score):
    page.select_option('#size', size)
    page.locator('#score').fill(str(score))


def totals(page):
    """The table as a person reads it: a list of cells by the name of the row."""
    rows = [row.split('\t') for row in page.inner_text('#totals').splitlines()]
    return {name: cells for name, *cells in rows}


def fits(box, size):
    area = (box[2] - box[0]) * (box[3] - box[1])
    return AREAS[size][0] <= area <= AREAS[size][1]


def kept(seen, size, score):
    """Of one picture: which objects, which false positives."""
    wrong = zip(seen.false_positives, seen.false_positive_scores)
    return (
        [i for i, box in enumerate(seen.objects) if fits(box, size)],
        [i for i, (box, s) in enumerate(wrong) if fits(box, size) and s >= score],
    )


def test_totals_order_and_filters(open_page):
    rng = np.random.default_rng(0)
    looks = [random_look(rng, random_boxes(rng, 5)) for _ in range(20)]
    page = open_page([[seen] for seen in looks], ['mine'])
    assert page.inner_text('h1') == 'mine'
    for size, score in (('all', 0.3), ('all', 0), ('small', 0.5), ('medium', 0), ('large', 0.9)):
        choose(page, size, score)
        objects, missed, false, foreseen, wrongness = 0, 0, 0, 0, {}
        for number, seen in enumerate(looks):
            own, wrong = kept(seen, size, score)
            lost = [i for i in own if not seen.found[i]]
            objects, missed, false = objects + len(own), missed + len(lost), false + len(wrong)
            foreseen += seen.foreseen[wrong].sum()
            if own or wrong:
                wrongness[f'{number:03}.jpg'] = len(lost) + seen.false_positive_scores[wrong].sum()
        said = totals(page)
        assert said['pictures'] == ['20'] and said['objects'] == [str(objects)] and said['missed'] == [str(missed)]
        found = objects - missed
        assert said['found by the best 100 proposals'] == [f'{found} ({100 * found / objects:.1f} %)']
        assert said['false positives'] == [str(false)]
        assert float(said['false positives a picture'][0]) == pytest.approx(false / 20, abs=0.006)
        share = float(said["of them in one of nRPN's best 100 regions"][0].rstrip(' %'))
        assert share == pytest.approx(100 * foreseen / false, abs=0.06)
        names = page.locator('.card h2').all_inner_texts()
        assert set(names) == set(wrongness)
        assert all(wrongness[a] >= wrongness[b] - 1e-9 for a, b in zip(names, names[1:]))
        assert page.locator('rect.missed').count() == missed and page.locator('rect.false').count() == false
        assert page.locator('rect.object').count() == found


def test_boxes_lie_where_they_should_and_hide(open_page):
    rng = np.random.default_rng(1)
    seen = random_look(rng, random_boxes(rng, 5))
    page = open_page([[seen]], ['mine'])
    choose(page, 'all', 0)
    picture = page.locator('svg image').bounding_box()
    scale = picture['width'] / 400
    for i, rect in enumerate(page.locator('rect.false').all()):
        drawn, (x1, *_, y2) = rect.bounding_box(), seen.false_positives[i]
        # a line of two pixels is drawn around it
        assert drawn['x'] - picture['x'] == pytest.approx(x1 * scale, abs=3)
        assert drawn['y'] + drawn['height'] - picture['y'] == pytest.approx(y2 * scale, abs=3)
        assert rect.locator('title').text_content() == f'false positive, score {seen.false_positive_scores[i]:.3g}'
    assert page.locator('rect.region').count() == 12
    page.get_by_label("nRPN's regions").uncheck()
    assert page.locator('rect.region').count() == 0 and page.locator('rect.false').count() == 12
    before = page.locator('svg').bounding_box()['width']
    page.locator('.views').click()
    assert page.locator('svg').bounding_box()['width'] > 2 * before


def test_two_side_by_side(open_page):
    objects = np.array([[0, 0, 40, 40], [100, 0, 140, 40], [200, 0, 240, 40]], dtype=float)
    none = np.zeros((0, 4))

    def seen(found, false, scores):
        false = np.array(false, dtype=float)
        return Look(
            objects, np.array(found), none, false, np.array(scores), none, np.zeros(0), np.zeros(len(false), bool)
        )

    before = seen([True, True, False], [[0, 100, 40, 140], [100, 100, 140, 140], [200, 100, 240, 140]], [0.9, 0.8, 0.7])
    # the first false positive stays, nearly in its place; the second is below the score; the third is gone; one is new
    after = seen([True, False, True], [[300, 100, 340, 140], [2, 100, 42, 140], [100, 100, 140, 140]], [0.9, 0.6, 0.2])
    page = open_page([[before, after], [before, before]], ['stock', 'mine'])
    assert page.inner_text('h1') == 'stock → mine'
    said = totals(page)
    assert said['missed'] == ['2', '2'] and said['false positives'] == ['6', '5']
    assert said['false positives of the other that are gone'] == ['', '2']
    assert said['false positives that are new'] == ['', '1']
    assert said['objects found that the other missed'] == ['', '1']
    assert said['objects lost that the other found'] == ['', '1']
    first = page.locator('.card').first
    assert '2 gone, 1 new; 1 objects gained, 1 lost' in first.inner_text()
    assert [first.locator('figure').nth(i).locator('rect.changed').count() for i in (0, 1)] == [2, 1]
    choose(page, 'all', 0)  # then the one that scores 0.2 has stayed, too
    assert totals(page)['false positives of the other that are gone'] == ['', '1']


def test_more_pictures_than_a_page_and_than_are_shown(open_page):
    rng = np.random.default_rng(2)
    looks = [[random_look(rng, random_boxes(rng, 2))] for _ in range(60)]
    page = open_page(looks, ['mine'], num_shown=55)
    assert page.locator('.card').count() == 48 and totals(page)['pictures'] == ['60']
    page.get_by_role('button', name='Show more (48 of 55)').click()
    assert page.locator('.card').count() == 55 and not page.locator('#more').is_visible()
    assert 'Shown are the 55 that are most wrong' in page.inner_text('#about')


def test_names_are_text_and_no_markup(open_page):
    rng = np.random.default_rng(3)
    name = '</script><script>throw 1</script><b>&amp;" onload="throw 1.jpg'
    page = open_page([[random_look(rng, random_boxes(rng, 2))]], ['<i>mine</i>'], file_names=[name])
    assert page.inner_text('h1') == '<i>mine</i>' and page.inner_text('.card h2') == name
    assert page.locator('svg').get_attribute('aria-label') == name
